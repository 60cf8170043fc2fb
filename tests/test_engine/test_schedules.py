"""Rates ahead of time, and those of a run whose config has changed in its middle."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from afa.engine.checkpoints.fit import CheckpointError
from afa.engine.schedules import follow_config, zero_rate_from

WARM = dict(type="LinearLR", start_factor=0.5, by_epoch=False, begin=0, end=2)
NORM = dict(custom_keys=dict(norm=dict(lr_mult=10, decay_mult=0)))
COSINE = dict(type="CosineAnnealingLR", T_max=8, begin=2, end=10, by_epoch=False)
PLATEAU = dict(type="ReduceOnPlateauLR", monitor="seg/mIoU", rule="greater", by_epoch=True)


def _poly(end, begin=2, **changes):
    return dict(type="PolyLR", power=0.9, by_epoch=False, begin=begin, end=end, **changes)


class _Model(BaseModule):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 2), nn.LayerNorm(2)


def _runner(schedules, iters=9, paramwise=None, **optimizer):
    """Make what these functions use of a runner, at its first iteration."""
    optimizer = {"type": "SGD", "lr": 0.1, "weight_decay": 0.1, **optimizer}
    cfg = dict(optimizer=optimizer)
    if paramwise is not None:
        cfg["paramwise_cfg"] = paramwise
    wrapper = build_optim_wrapper(_Model(), cfg)
    if schedules is not None:
        schedules = [PARAM_SCHEDULERS.build(dict(one, optimizer=wrapper)) for one in schedules]
    loop = SimpleNamespace(iter=0, max_iters=iters)
    return SimpleNamespace(optim_wrapper=wrapper, param_schedulers=schedules, train_loop=loop)


def _train(runner, end):
    """Train up to an iteration, as mmengine does, and return the settings of every iteration."""
    seen, loop = [], runner.train_loop
    while loop.iter < end:
        loop.iter += 1
        seen.append(
            [
                {key: value for key, value in group.items() if key != "params"}
                for group in runner.optim_wrapper.param_groups
            ]
        )
        for parameter in runner.optim_wrapper.optimizer.param_groups[0]["params"]:
            parameter.grad = torch.ones_like(parameter)
        runner.optim_wrapper.step()
        for schedule in runner.param_schedulers or []:
            schedule.step()
    return seen


def _checkpoint(runner):
    schedules = runner.param_schedulers
    return copy.deepcopy(
        dict(
            optimizer=runner.optim_wrapper.state_dict(),
            param_schedulers=schedules and [one.state_dict() for one in schedules],
            meta=dict(iter=runner.train_loop.iter),
        )
    )


def _resume(runner, checkpoint):
    """Do what mmengine does, behind follow_config."""
    differences = follow_config(runner, checkpoint, "iter_6.pth")
    runner.train_loop.iter = checkpoint["meta"]["iter"]
    runner.optim_wrapper.load_state_dict(checkpoint["optimizer"])
    for one, state in zip(
        runner.param_schedulers or [], checkpoint["param_schedulers"] or [], strict=False
    ):
        one.load_state_dict(state)
    return differences


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (([WARM, _poly(7)], {}), ([WARM, _poly(10)], {}), ["param_scheduler.1.end 7 (now 10)"]),
        (
            ([WARM, _poly(10)], {}),
            ([WARM, _poly(10, eta_min=0.01)], {}),
            ["param_scheduler.1.eta_min 0", "(now 0.01)"],
        ),
        (([WARM, _poly(10)], {}), ([WARM, _poly(10)], dict(lr=0.3)), ["lr 0.1 (now 0.3)"]),
        (([], {}), ([], dict(lr=0.3, weight_decay=0.2)), ["lr 0.1 (now 0.3)", "weight_decay 0.1"]),
        ((None, {}), ([WARM], {}), ["0 schedules (now 1)"]),
        (([WARM, _poly(10)], {}), ([_poly(10, begin=0)], {}), ["2 schedules (now 1)"]),
        (
            ([WARM, _poly(10)], {}),
            ([WARM, COSINE], {}),
            ["T_max None (now 8)", "power 0.9"],
        ),
        (
            ([WARM, _poly(7)], dict(paramwise=NORM)),
            ([WARM, _poly(10)], dict(paramwise=dict(custom_keys=dict(linear=dict(lr_mult=2))))),
            ["lr 0.1 (now 0.2)", "weight_decay 0.0 (now 0.1)", "param_scheduler.1.end"],
        ),
        (
            ([WARM], dict(type="AdamW", betas=(0.9, 0.999))),
            ([WARM], dict(type="AdamW", betas=(0.8, 0.999))),
            ["betas (0.9, 0.999) (now (0.8, 0.999))"],
        ),
    ],
)
def test_rates_are_those_of_a_run_with_the_config_of_now(before, now, said):
    first = _runner(before[0], **before[1])
    _train(first, 6)
    checkpoint = _checkpoint(first)
    state = copy.deepcopy(checkpoint["optimizer"]["state"])
    runner = _runner(now[0], **now[1])
    differences = _resume(runner, checkpoint)
    assert all(text in " ".join(differences) for text in said)
    assert str(checkpoint["optimizer"]["state"]) == str(state)
    assert _train(runner, 9) == _train(_runner(now[0], **now[1]), 9)[6:]


@pytest.mark.parametrize("paramwise", [None, NORM])
def test_nothing_is_touched_where_nothing_has_changed(paramwise):
    first = _runner([WARM, _poly(10)], paramwise=paramwise)
    _train(first, 6)
    checkpoint = _checkpoint(first)
    before = str(checkpoint)
    assert follow_config(_runner([WARM, _poly(10)], paramwise=paramwise), checkpoint, "x") == []
    assert str(checkpoint) == before


def test_schedules_by_epoch_have_made_as_many_steps_as_there_were_epochs():
    step = dict(type="MultiStepLR", milestones=[1], by_epoch=True)
    first = _runner([dict(step, gamma=0.1)])
    _train(first, 6)
    runner, loop = (
        _runner([dict(step, gamma=0.5)]),
        EpochBasedTrainLoop.__new__(EpochBasedTrainLoop),
    )
    loop.dataloader = [0, 1, 2, 3]
    runner.train_loop = loop
    assert follow_config(runner, _checkpoint(first), "x")
    assert runner.param_schedulers[0].last_step == 1
    assert runner.optim_wrapper.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (
            dict(schedules=[WARM], paramwise=NORM),
            "'x' was trained with 1 groups of parameters, this run has 4",
        ),
        (dict(schedules=[PLATEAU]), "param_scheduler.0.* a schedule that follows figures"),
    ],
)
def test_what_cannot_be_followed_is_refused(now, text):
    first = _runner([WARM])
    _train(first, 6)
    with pytest.raises(CheckpointError, match=text):
        follow_config(_runner(**now), _checkpoint(first), "x")


def test_several_optimizers_are_left_to_mmengine():
    runner = SimpleNamespace(optim_wrapper=dict(a=1), param_schedulers=dict(a=[]))
    runner.train_loop = SimpleNamespace(iter=0, max_iters=3)
    assert follow_config(runner, dict(optimizer=dict(a={}), meta=dict(iter=3)), "x") == []
    assert zero_rate_from(runner) is None


@pytest.mark.parametrize(
    ("schedules", "rate", "first"),
    [
        ([WARM, _poly(7)], 0.1, None),
        ([WARM, _poly(6)], 0.1, 5),
        ([WARM, _poly(4)], 0.1, 3),
        ([WARM, _poly(4, eta_min=1e-6)], 0.1, None),
        ([], 0.0, 0),
        (None, 0.1, None),
        ([dict(WARM, start_factor=1.0, end_factor=0.0, end=5)], 0.1, 4),
        ([dict(type="MultiStepLR", gamma=0.0, milestones=[3], by_epoch=False)], 0.1, 3),
    ],
)
@pytest.mark.parametrize("paramwise", [None, NORM])
def test_a_rate_of_zero_is_foreseen(schedules, rate, first, paramwise):
    runner = _runner(schedules, iters=6, lr=rate, paramwise=paramwise)
    assert zero_rate_from(runner) == first
    seen = _train(runner, 6)  # the schedules were not touched by looking at them
    zero = [all(group["lr"] == 0 for group in groups) for groups in seen]
    assert zero[-1] == (first is not None)
    if first is not None:
        assert zero == [False] * first + [True] * (6 - first)
    assert zero_rate_from(runner) is None  # nothing is left


def test_a_rate_of_zero_is_foreseen_from_the_middle():
    runner = _runner([WARM, _poly(7)], iters=9)
    _train(runner, 4)
    assert zero_rate_from(runner) == 6

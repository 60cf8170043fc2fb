from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.parallel import DataParallel

from afa.engine.hooks.phase_hook import PhaseHook


class _Model(nn.Module):
    phase = "propagated"

    def set_phase(self, phase):
        self.phase = phase


def _runner(model, iteration=0):
    return SimpleNamespace(model=model, iter=iteration, logger=Mock())


@pytest.mark.parametrize(
    ("iters", "phases"),
    [
        ((2, 4), ["cls", "cls", "pseudo", "pseudo", "propagated", "propagated"]),
        ((0, 3), ["pseudo", "pseudo", "pseudo", "propagated", "propagated", "propagated"]),
        ((3, 3), ["cls", "cls", "cls", "propagated", "propagated", "propagated"]),
        ((0, 0), ["propagated"] * 6),
    ],
)
def test_phase_of_each_iteration(iters, phases):
    hook, model = PhaseHook(*iters), _Model()
    runner = _runner(model)
    seen = []
    for runner.iter in range(6):
        hook.before_train_iter(runner, batch_idx=0)
        seen.append(model.phase)
    assert seen == phases
    assert runner.logger.info.call_count == len(set(phases))  # once at each change


@pytest.mark.parametrize(("iteration", "phase"), [(1, "cls"), (2, "pseudo"), (9, "propagated")])
def test_a_resumed_run_is_in_the_right_phase(iteration, phase):
    model = _Model()
    runner = _runner(model, iteration)
    PhaseHook(2, 4).before_train_iter(runner, batch_idx=0)
    assert model.phase == phase


def test_the_model_inside_a_wrapper_is_set():
    model = _Model()
    runner = _runner(DataParallel(model))
    PhaseHook(1, 2).before_train_iter(runner, batch_idx=0)
    assert model.phase == "cls"
    assert "iteration 0: phase 'cls'" in runner.logger.info.call_args.args[0]


@pytest.mark.parametrize("iters", [(5, 4), (-1, 4)])
def test_wrong_order(iters):
    text = rf"0 <= cls_iters <= pseudo_iters .*, got cls_iters={iters[0]} and pseudo_iters=4"
    with pytest.raises(ValueError, match=text):
        PhaseHook(*iters)


def test_it_is_registered():
    assert HOOKS.get("PhaseHook") is PhaseHook

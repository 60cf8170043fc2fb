from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.parallel import DataParallel

from afa.engine.hooks.phase_hook import PhaseHook


class _Model(nn.Module):
    phases = dict(warm=1, cut=2, walked=3)
    phase = "walked"

    def set_phase(self, phase):
        self.phase = phase


def _runner(model, iteration=0):
    return SimpleNamespace(model=model, iter=iteration, logger=Mock())


@pytest.mark.parametrize(
    ("begins", "phases"),
    [
        (dict(warm=0, cut=2, walked=4), ["warm", "warm", "cut", "cut", "walked", "walked"]),
        (dict(cut=0, walked=3), ["cut", "cut", "cut", "walked", "walked", "walked"]),
        (dict(walked=3, warm=0), ["warm", "warm", "warm", "walked", "walked", "walked"]),
        (dict(walked=0), ["walked"] * 6),
    ],
)
def test_phase_of_each_iteration(begins, phases):
    hook, model = PhaseHook(begins), _Model()
    runner = _runner(model)
    hook.before_train(runner)
    seen = []
    for runner.iter in range(6):
        hook.before_train_iter(runner, batch_idx=0)
        seen.append(model.phase)
    assert seen == phases
    assert runner.logger.info.call_count == len(set(phases))  # once at each change


@pytest.mark.parametrize(("iteration", "phase"), [(1, "warm"), (2, "cut"), (9, "walked")])
def test_a_resumed_run_is_in_the_right_phase(iteration, phase):
    model = _Model()
    runner = _runner(model, iteration)
    PhaseHook(dict(warm=0, cut=2, walked=4)).before_train_iter(runner, batch_idx=0)
    assert model.phase == phase


def test_the_model_inside_a_wrapper_is_set():
    model = _Model()
    runner = _runner(DataParallel(model))
    hook = PhaseHook(dict(warm=0, cut=1))
    hook.before_train(runner)
    hook.before_train_iter(runner, batch_idx=0)
    assert model.phase == "warm"
    assert "iteration 0: phase 'warm'" in runner.logger.info.call_args.args[0]


@pytest.mark.parametrize("begins", [dict(), dict(cls=1), dict(cls=0, pseudo=4, propagated=4)])
def test_wrong_begins(begins):
    with pytest.raises(ValueError, match=rf"the first at 0 and each at its own, .*, got {begins}"):
        PhaseHook(begins)


def test_another_order_than_that_of_the_model():
    PhaseHook(dict(cut=5, warm=0)).before_train(_runner(_Model()))  # that of the dict is none
    text = r"phases of _Model begin in the order cut, walked, got {'walked': 0, 'cut': 5}: mend"
    with pytest.raises(ValueError, match=text):
        PhaseHook(dict(cut=5, walked=0)).before_train(_runner(_Model()))


@pytest.mark.parametrize(
    ("phases", "text"),
    [
        (_Model.phases, "names the phase 'cls', but _Model has the phases warm, cut, walked: mend"),
        ({}, "names the phase 'cls', but _Model has no phases: mend custom_hooks"),
    ],
)
def test_phases_of_another_model_are_refused_before_the_first_iteration(phases, text, monkeypatch):
    monkeypatch.setattr(_Model, "phases", phases)
    with pytest.raises(ValueError, match=text):
        PhaseHook(dict(cls=0)).before_train(_runner(_Model()))


def test_it_is_registered():
    assert HOOKS.get("PhaseHook") is PhaseHook

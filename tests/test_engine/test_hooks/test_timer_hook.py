"""The time left is compared with what a run of known seconds really had left."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import iter_timer_hook
from mmengine.logging import MessageHub
from mmengine.runner import IterBasedTrainLoop

from afa.engine.hooks import AFATimerHook, PhaseHook
from afa.engine.runner import build_runner

COSTS = dict(cls=1.0, pseudo=3.0, propagated=5.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(iter_timer_hook.time, "time", lambda: now.seconds)
    return now


def make_runner(name, phases, max_iters, val_interval=None, start=0):
    loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)
    loop.val_begin, loop.val_interval = 1, val_interval
    return SimpleNamespace(
        hooks=[PhaseHook(phases)] if phases else [],
        model=SimpleNamespace(phases=COSTS if phases else {}),
        message_hub=MessageHub.get_instance(name),
        iter=start,
        max_iters=max_iters,
        train_loop=loop,
        val_loop=object() if val_interval else None,
        val_dataloader=[0],
    )


def run(clock, runner, seconds, validation=0.0):
    """Run iterations of the given seconds; give what was said to be left, and what really was."""
    hook, said, ends = AFATimerHook(), [], []
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    for index in range(runner.iter, runner.max_iters):
        runner.iter = index
        hook.before_train_iter(runner, runner.iter)
        clock.seconds += seconds(runner.iter)
        hook.after_train_iter(runner, runner.iter)
        said.append(runner.message_hub.get_info("eta"))
        ends.append(clock.seconds)
        every = runner.train_loop.val_interval
        if every and ((runner.iter + 1) % every == 0 or runner.iter + 1 == runner.max_iters):
            hook.before_val_epoch(runner)
            hook.before_val_iter(runner, 0)
            clock.seconds += validation
            hook.after_val_iter(runner, 0)
            hook.after_val_epoch(runner)
    return said, [clock.seconds - end for end in ends]


def test_the_first_phase_knows_what_the_later_ones_cost(clock):
    phases = dict(cls=0, pseudo=10, propagated=20)
    each = lambda i: 1.0 if i < 10 else 3.0 if i < 20 else 5.0  # noqa: E731
    said, left = run(clock, make_runner("costs", phases, 40), each)
    assert left[4] == 5 + 30 + 100
    assert said == pytest.approx(left)


def test_a_phase_that_has_begun_counts_as_it_is_measured(clock):
    phases = dict(cls=0, pseudo=10, propagated=20)
    each = lambda i: 1.0 if i < 10 else 9.0 if i < 20 else 15.0  # noqa: E731
    said, left = run(clock, make_runner("measured", phases, 40), each)
    assert said[10:] == pytest.approx(left[10:])  # three times what the model says: seen at once


def test_the_start_does_not_count(clock):
    said, left = run(clock, make_runner("start", None, 20), lambda i: 60.0 if i == 0 else 1.0)
    assert said[1:] == pytest.approx(left[1:])


def test_validations_count_once_one_was_measured(clock):
    said, left = run(clock, make_runner("val", None, 25, 10), lambda i: 1.0, validation=30.0)
    assert left[10] == 14 + 2 * 30  # after 20 and 25 iterations
    assert said[10:] == pytest.approx(left[10:])


def test_a_resumed_run_measures_its_own_iterations(clock):
    phases = dict(cls=0, pseudo=10, propagated=20)
    each = lambda i: 6.0 if i < 20 else 10.0  # noqa: E731
    said, left = run(clock, make_runner("resumed", phases, 30, start=15), each)
    assert said == pytest.approx(left)


def test_our_runner_puts_it_in_place_and_the_log_has_it(toy_cfg):
    runner = build_runner(toy_cfg)
    assert [type(hook) for hook in runner.hooks].count(AFATimerHook) == 1
    assert not any(type(hook) is iter_timer_hook.IterTimerHook for hook in runner.hooks)
    runner.train()
    assert runner.message_hub.get_info("eta") == 0

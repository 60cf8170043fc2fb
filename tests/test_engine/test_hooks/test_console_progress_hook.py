from types import SimpleNamespace

import pytest
from mmengine.runner import LogProcessor

from afa.engine.hooks import ConsoleProgressHook, PhaseHook
from afa.engine.hooks import console_progress_hook as module
from afa.engine.hooks.console_progress_hook import AFALogProcessor, peak_memory_mb


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now.seconds)
    return now


def _runner(hooks=(), max_iters=8):
    return SimpleNamespace(
        hooks=hooks,
        max_iters=max_iters,
        iter=0,
        model=SimpleNamespace(phase="cls"),
        message_hub=SimpleNamespace(log_scalars={}),
        val_dataloader=range(6),
        test_dataloader=range(4),
    )


def _train(hook, runner, clock, seconds_each):
    hook.before_train(runner)
    for runner.iter, seconds in enumerate(seconds_each):
        clock.seconds += seconds
        hook.after_train_iter(runner, runner.iter, None, dict(loss=0.5))


def test_lines_at_the_interval_and_at_the_end(clock):
    said = []
    hook = ConsoleProgressHook(interval=3, say=said.append)
    _train(hook, _runner(), clock, [10] * 8)
    assert said == [
        "train 3/8 phase cls loss 0.500, 50 s left",
        "train 6/8 phase cls loss 0.500, 20 s left",
        "train 8/8 phase cls loss 0.500, 0 s left",
    ]
    assert hook.peak_memory_mib > 10


def test_later_phases_count_more(clock):
    said = []
    costs = dict(cls=1, pseudo=3, propagated=5)
    hook = ConsoleProgressHook(interval=4, say=said.append)
    runner = _runner([PhaseHook(dict(cls=0, pseudo=4, propagated=6))])
    runner.model.phases = costs
    _train(hook, runner, clock, [1, 1, 1, 1, 3, 3, 5, 5])
    assert said[0].endswith("16 s left")  # 3 + 3 + 5 + 5
    assert said[1].endswith("0 s left")


def test_validation_does_not_count_as_training(clock):
    said = []
    hook = ConsoleProgressHook(interval=2, say=said.append)
    runner = _runner(max_iters=4)
    hook.before_train(runner)
    clock.seconds += 2
    hook.before_val(runner)
    for index in range(6):
        clock.seconds += 10
        hook.after_val_iter(runner, index)
    hook.after_val_epoch(runner, {"seg/mIoU": 12.34, "cls/F1": 50.0, "toy/other": 1.0})
    runner.iter = 1
    clock.seconds += 2
    hook.after_train_iter(runner, 1, None, None)
    assert said == [
        "val 2/6, 40 s left",
        "val 4/6, 20 s left",
        "val 6/6, 0 s left",
        "val at iteration 0: classification F1 50.0, segmentation mIoU 12.3",
        "train 2/4 phase cls 4 s left",
    ]


def test_a_resumed_run_counts_its_own_iterations(clock):
    said = []
    hook = ConsoleProgressHook(interval=8, say=said.append)
    runner = _runner(max_iters=16)
    runner.iter = 6
    hook.before_train(runner)
    clock.seconds += 4
    runner.iter = 7
    hook.after_train_iter(runner, 7)
    assert said == ["train 8/16 phase cls 16 s left"]


def test_testing_has_lines(clock):
    said = []
    hook = ConsoleProgressHook(interval=3, say=said.append)
    runner = _runner()
    hook.before_test(runner)
    for index in range(4):
        clock.seconds += 5
        hook.after_test_iter(runner, index)
    assert said == ["test 3/4, 5 s left", "test 4/4, 0 s left"]
    hook.after_val_epoch(runner, {})
    assert len(said) == 2  # no figures, no line


def test_interval_must_be_positive():
    with pytest.raises(ValueError, match="interval >= 1, got 0"):
        ConsoleProgressHook(interval=0)


def test_peak_memory_grows_with_what_is_kept():
    before = peak_memory_mb()
    kept = bytearray(200 * 2**20)
    kept[::4096] = b"x" * len(kept[::4096])  # touch every page
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > 200


def _line(monkeypatch, tag, line):
    monkeypatch.setattr(LogProcessor, "get_log_after_iter", lambda *args: (dict(tag), line))
    return AFALogProcessor(by_epoch=False).get_log_after_iter(None, 0, "train")


def test_memory_stands_between_times_and_losses(monkeypatch):
    tag, line = _line(monkeypatch, {}, "lr: 1  time: 1.0  data_time: 0.1  loss: 2.0")
    assert line == f"lr: 1  time: 1.0  data_time: 0.1  memory: {tag['memory']}  loss: 2.0"


def test_without_times_it_stands_at_the_end(monkeypatch):
    tag, line = _line(monkeypatch, {}, "lr: 1  loss: 2.0")
    assert line == f"lr: 1  loss: 2.0  memory: {tag['memory']}"


def test_memory_of_a_gpu_is_left_alone(monkeypatch):
    tag, line = _line(monkeypatch, {"memory": 5}, "memory: 5  loss: 2.0")
    assert (tag["memory"], line) == (5, "memory: 5  loss: 2.0")

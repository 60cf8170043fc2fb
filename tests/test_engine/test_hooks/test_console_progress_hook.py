from types import SimpleNamespace

import pytest
from mmengine.runner import LogProcessor

from afa.engine.hooks import ConsoleProgressHook
from afa.engine.hooks.console_progress_hook import AFALogProcessor, peak_memory_mb


def _runner(max_iters=8):
    return SimpleNamespace(
        max_iters=max_iters,
        iter=0,
        model=SimpleNamespace(phase="cls"),
        message_hub=SimpleNamespace(log_scalars={}, runtime_info={}),
        val_dataloader=range(6),
        test_dataloader=range(4),
    )


def test_lines_at_the_interval_and_at_the_end():
    said, runner = [], _runner()
    hook = ConsoleProgressHook(interval=3, say=said.append)
    for runner.iter in range(8):
        runner.message_hub.runtime_info["eta"] = 70 - 10 * runner.iter  # as the timer says
        hook.after_train_iter(runner, runner.iter, None, dict(loss=0.5))
    assert said == [
        "train 3/8 phase cls loss 0.500, 50 s left",
        "train 6/8 phase cls loss 0.500, 20 s left",
        "train 8/8 phase cls loss 0.500, 0 s left",
    ]
    assert hook.peak_memory_mib > 10


def test_validation_has_lines_and_figures():
    said, runner = [], _runner()
    hook = ConsoleProgressHook(interval=2, say=said.append)
    for index in range(6):
        runner.message_hub.runtime_info["eta"] = 50 - 10 * index
        hook.after_val_iter(runner, index)
    hook.after_val_epoch(runner, {"seg/mIoU": 12.34, "cls/F1": 50.0, "toy/other": 1.0})
    assert said == [
        "val 2/6, 40 s left",
        "val 4/6, 20 s left",
        "val 6/6, 0 s left",
        "val at iteration 0: classification F1 50.0, segmentation mIoU 12.3",
    ]


def test_testing_has_lines():
    said, runner = [], _runner()
    hook = ConsoleProgressHook(interval=3, say=said.append)
    for index in range(4):
        runner.message_hub.runtime_info["eta"] = 15 - 5 * index
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

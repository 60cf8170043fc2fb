from mmengine.runner import LogProcessor

from afa.engine.log_processor import AFALogProcessor, peak_memory_mb


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

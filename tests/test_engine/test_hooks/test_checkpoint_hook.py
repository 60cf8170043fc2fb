import errno
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from toy_run import ToyMetric

from afa.engine.hooks.checkpoint_hook import AFACheckpointHook, batch_of
from afa.engine.runner import build_runner
from afa.utils.checkpoint import load_state


def _files(cfg):
    kinds = (p for p in Path(cfg.work_dir).iterdir() if p.is_file() and p.suffix != ".py")
    return sorted(p.name for p in kinds if p.name != "report.html")


def _train(cfg, resume=None):
    runner = build_runner(cfg, resume=resume)
    runner.train()
    return runner


def _scores(monkeypatch, *scores):
    """Let the validations of a run give these accuracies, one after the other."""
    given = iter(scores)
    monkeypatch.setattr(
        ToyMetric, "compute_metrics", lambda self, results: dict(accuracy=next(given))
    )


def test_our_hook_takes_the_place_of_mmengines(toy_cfg):
    hooks = build_runner(toy_cfg).hooks
    (hook,) = [hook for hook in hooks if hasattr(hook, "save_best")]
    assert type(hook) is AFACheckpointHook and hook.interval == 3
    toy_cfg.default_hooks.pop("checkpoint")
    assert any(type(hook) is AFACheckpointHook for hook in build_runner(toy_cfg).hooks)
    toy_cfg.default_hooks.checkpoint = None
    assert not any(isinstance(hook, AFACheckpointHook) for hook in build_runner(toy_cfg).hooks)


def test_as_many_are_kept_as_wanted_and_the_best(toy_cfg, monkeypatch):
    toy_cfg.train_cfg.update(max_iters=8, val_interval=2)
    toy_cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=2)
    _scores(monkeypatch, 0.2, 0.7, 0.6, 0.7)
    _train(toy_cfg)
    wanted = ["best_toy_accuracy_iter_4.pth", "iter_6.pth", "iter_8.pth", "last_checkpoint"]
    assert _files(toy_cfg) == wanted
    assert Path(toy_cfg.work_dir, "last_checkpoint").read_text().endswith("iter_8.pth")
    best = load_state(Path(toy_cfg.work_dir, "best_toy_accuracy_iter_4.pth"))
    assert best["meta"]["iter"] == 4 and "optimizer" not in best
    last = load_state(Path(toy_cfg.work_dir, "iter_8.pth"))
    assert last["message_hub"]["runtime_info"]["best_score"] == 0.7


def test_lower_is_better_where_the_rule_says_so(toy_cfg, monkeypatch):
    toy_cfg.default_hooks.checkpoint.rule = "less"
    _scores(monkeypatch, 0.7, 0.2)
    _train(toy_cfg)
    assert "best_toy_accuracy_iter_6.pth" in _files(toy_cfg)


def test_several_bests_are_kept_apart(toy_cfg, monkeypatch):
    toy_cfg.default_hooks.checkpoint.update(
        save_best=["toy/accuracy", "toy/loss"], rule=["greater", "less"]
    )
    given = iter([dict(accuracy=0.5, loss=0.5), dict(accuracy=0.4, loss=0.4)])
    monkeypatch.setattr(ToyMetric, "compute_metrics", lambda self, results: next(given))
    _train(toy_cfg)
    best = [name for name in _files(toy_cfg) if name.startswith("best")]
    assert best == ["best_toy_accuracy_iter_3.pth", "best_toy_loss_iter_6.pth"]


def test_a_figure_that_is_not_measured_is_named(toy_cfg):
    toy_cfg.default_hooks.checkpoint.update(save_best="toy/mIoU")
    runner = _train(toy_cfg)
    log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    assert "save_best wants 'toy/mIoU', which was not measured: toy/accuracy" in log
    assert not any(name.startswith("best") for name in _files(toy_cfg))


def test_the_file_says_what_it_was_made_with(toy_cfg):
    runner = _train(toy_cfg)
    meta = load_state(Path(toy_cfg.work_dir, "iter_6.pth"))["meta"]
    assert meta["dataset_meta"]["classes"] == ("background", "a", "b")
    assert torch.__version__.startswith(meta["versions"]["torch"]) and "afa" in meta["versions"]
    assert meta["plain_config"]["model"]["type"] == "ToyModel"
    assert meta["batch"] == dict(per_process=4, processes=1) == batch_of(runner)


class _Full:
    """Stand in for a disk on which the n-th file and all after it find no room."""

    def __init__(self, monkeypatch, files):
        self.left = files
        real = LocalBackend.put

        def put(backend, obj, filepath):
            self.left -= 1
            if self.left >= 0:
                return real(backend, obj, filepath)
            Path(filepath).write_bytes(bytes(obj[: len(obj) // 2]))
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(LocalBackend, "put", put)


@pytest.mark.parametrize("files", [1, 2, 3, 4])
def test_a_full_disk_leaves_the_last_good_one(toy_cfg, monkeypatch, files):
    toy_cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    _scores(monkeypatch, 0.2, 0.7)
    _Full(monkeypatch, files)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\); the ones"):
        _train(toy_cfg)
    good = [name for name in _files(toy_cfg) if name.startswith("iter")]
    assert good == ["iter_6.pth" if files == 4 else "iter_3.pth"]
    for name in good:
        load_state(Path(toy_cfg.work_dir, name))
    assert not list(Path(toy_cfg.work_dir).glob(".*"))


@pytest.mark.parametrize("name", ["iter_3.pth", "best_toy_accuracy_iter_3.pth"])
def test_what_a_kill_has_left_is_removed_at_the_next_start(toy_cfg, monkeypatch, name):
    class KillError(BaseException):
        pass

    def remove(hook, removed):
        if removed == name:
            raise KillError
        real(hook, removed)

    toy_cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    _scores(monkeypatch, 0.2, 0.7, 0.7)
    real = AFACheckpointHook._remove
    with monkeypatch.context() as patch, pytest.raises(KillError):
        patch.setattr(AFACheckpointHook, "_remove", remove)
        _train(toy_cfg)
    assert name in _files(toy_cfg)
    Path(toy_cfg.work_dir, ".iter_9.pth.77.part").write_bytes(b"half")
    _train(toy_cfg, resume="auto")
    wanted = ["best_toy_accuracy_iter_6.pth", "iter_6.pth", "last_checkpoint"]
    assert _files(toy_cfg) == wanted


def test_the_best_of_another_run_is_not_removed(toy_cfg, tmp_path, monkeypatch):
    _scores(monkeypatch, 0.2, 0.7, 0.7)
    toy_cfg.train_cfg.max_iters = 6
    _train(toy_cfg)
    source = Path(toy_cfg.work_dir)
    (source / "best_toy_accuracy_iter_6.pth").rename(source / "best_toy_accuracy_iter_3.pth")
    before = _files(toy_cfg)
    cfg = toy_cfg.copy()
    cfg.work_dir = str(tmp_path / "other")
    _train(cfg, resume=str(source / "iter_3.pth"))
    assert _files(toy_cfg) == before


def test_a_validation_alone_saves_nothing(toy_cfg):
    build_runner(toy_cfg, stage="val").val()
    assert _files(toy_cfg) == []

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.runner import ValLoop
from toy_run import losses

from afa.engine.hooks.checkpoint_hook import AFACheckpointHook
from afa.engine.hooks.runner_hooks import ReleaseWorkersHook
from afa.engine.runner import build_runner


@pytest.fixture
def validated(monkeypatch):
    """The iterations that are validated."""
    seen, run = [], ValLoop.run

    def noted(loop):
        seen.append(loop.runner.iter)
        return run(loop)

    monkeypatch.setattr(ValLoop, "run", noted)
    return seen


def _stop_before_the_end_of(cfg, monkeypatch, iteration):
    """Train until the validation of an iteration is done, but not saved."""

    class StopError(Exception):
        pass

    after = AFACheckpointHook.after_val_epoch

    def stop(hook, runner, metrics=None):
        if runner.iter == iteration:
            raise StopError
        return after(hook, runner, metrics)

    with monkeypatch.context() as patch, pytest.raises(StopError):
        patch.setattr(AFACheckpointHook, "after_val_epoch", stop)
        build_runner(cfg).train()


@pytest.mark.parametrize("iteration", [3, 6])
def test_a_validation_that_was_cut_short_is_made_up_for(
    toy_cfg, tmp_path, monkeypatch, validated, iteration
):
    whole = toy_cfg.copy()
    whole.work_dir = str(tmp_path / "whole")
    wanted = build_runner(whole)
    wanted.train()
    assert validated == [3, 6]
    validated.clear()
    _stop_before_the_end_of(toy_cfg, monkeypatch, iteration)
    validated.clear()
    resumed = build_runner(toy_cfg, resume="auto")
    resumed.train()
    assert validated == [3, 6][[3, 6].index(iteration) :]
    assert losses(resumed) == losses(wanted)
    for key in ("val/toy/accuracy",):
        one, other = (r.message_hub.get_scalar(key).data[0] for r in (wanted, resumed))
        assert one.tolist() == other.tolist()
    best = [[p.name for p in Path(c.work_dir).glob("best*")] for c in (whole, toy_cfg)]
    assert best[0] == best[1] != []


def test_a_finished_validation_is_not_repeated(toy_cfg, validated):
    build_runner(toy_cfg).train()
    validated.clear()
    build_runner(toy_cfg, resume="auto").train()
    assert validated == []


def test_nothing_is_validated_where_none_is_due(toy_cfg, validated):
    toy_cfg.train_cfg.update(val_interval=4, max_iters=6)
    build_runner(toy_cfg).train()
    validated.clear()
    checkpoint = str(Path(toy_cfg.work_dir, "iter_3.pth"))
    toy_cfg.train_cfg.val_begin = 6
    build_runner(toy_cfg, resume=checkpoint).train()
    assert validated == [6]


def test_a_run_without_validation_resumes(toy_cfg):
    build_runner(toy_cfg).train()
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        toy_cfg.pop(key)
    toy_cfg.default_hooks.checkpoint.save_best = None
    checkpoint = str(Path(toy_cfg.work_dir, "iter_3.pth"))
    runner = build_runner(toy_cfg, resume=checkpoint)
    runner.train()
    assert runner.iter == 6


def test_both_holders_let_the_iterator_go():
    loader = SimpleNamespace(_iterator="workers")
    loop = SimpleNamespace(dataloader_iterator=SimpleNamespace(_iterator="workers"))
    ReleaseWorkersHook().after_train(SimpleNamespace(train_dataloader=loader, train_loop=loop))
    assert loader._iterator is None
    assert loop.dataloader_iterator._iterator is None


def test_a_loop_by_epochs_has_no_iterator_of_its_own():
    loader = SimpleNamespace()
    ReleaseWorkersHook().after_train(
        SimpleNamespace(train_dataloader=loader, train_loop=SimpleNamespace())
    )
    assert not hasattr(loader, "_iterator")

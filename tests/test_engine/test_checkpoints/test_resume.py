import copy
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from afa.engine.checkpoints.fit import CheckpointError
from afa.engine.checkpoints.resume import _differences, checkpoints
from afa.engine.runner import build_runner
from afa.utils.checkpoint import load_state


@pytest.fixture
def trained(toy_cfg):
    """A run with iter_3.pth and iter_6.pth; the time of change says which is newer."""
    build_runner(toy_cfg).train()
    work = Path(toy_cfg.work_dir)
    for number, name in enumerate(("iter_3.pth", "iter_6.pth")):
        os.utime(work / name, (1e9 + number, 1e9 + number))
    return work


def _log(runner):
    return Path(runner.log_dir, f"{runner.timestamp}.log").read_text()


def test_newest_first_by_time_of_change_and_what_the_pointer_names(trained, tmp_path):
    assert [path.name for path in checkpoints(trained)] == ["iter_6.pth", "iter_3.pth"]
    os.utime(trained / "iter_3.pth", (2e9, 2e9))
    elsewhere = tmp_path / "elsewhere.pth"
    elsewhere.write_bytes(b"")
    os.utime(elsewhere, (1.5e9, 1.5e9))
    (trained / "last_checkpoint").write_text(str(elsewhere))
    names = [path.name for path in checkpoints(trained)]
    assert names == ["iter_3.pth", "elsewhere.pth", "iter_6.pth"]
    (trained / "last_checkpoint").write_text("")  # cut off by a kill in other programs
    assert len(checkpoints(trained)) == 2
    assert checkpoints(tmp_path / "nowhere") == []


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])
    return "it is incomplete, or not a file of torch.save"


def _empty(path):
    path.write_bytes(b"")
    return "is empty"


def _other_model(path):
    torch.save(dict(state_dict={"backbone.w": torch.zeros(1)}, meta=dict(iter=6, epoch=0)), path)
    return "does not fit the model"


def _weights(path):
    state = load_state(path)
    state.pop("optimizer")
    torch.save(state, path)
    return "holds weights, but not the state of a training (optimizer)"


def _no_dict(path):
    torch.save([torch.zeros(1)], path)
    return "is no checkpoint: it holds list"


@pytest.mark.parametrize("spoil", [_truncate, _empty, _other_model, _weights, _no_dict])
def test_a_bad_one_is_named_and_the_newest_good_one_taken(toy_cfg, trained, spoil):
    fault = spoil(trained / "iter_6.pth")
    os.utime(trained / "iter_6.pth", (2e9, 2e9))
    runner = build_runner(toy_cfg, resume="auto")
    assert (runner._resume, runner._load_from) == (True, str(trained / "iter_3.pth"))
    log = _log(runner)
    assert f"'{trained / 'iter_6.pth'}' is passed over" in log and fault in log
    with pytest.raises(ValueError) as error:  # named by hand it is an error
        build_runner(toy_cfg, resume=str(trained / "iter_6.pth"))
    assert fault in str(error.value)


def test_nothing_good_does_not_begin_anew_over_what_is_there(toy_cfg, trained):
    for name in ("iter_3.pth", "iter_6.pth"):
        (trained / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"None of the 2 checkpoints .* another --work-dir"):
        build_runner(toy_cfg, resume="auto")


def test_another_number_of_images_a_step_is_said(toy_cfg, trained):
    assert "images a step" not in _log(build_runner(toy_cfg, resume="auto"))
    toy_cfg.train_dataloader.batch_size = 3
    runner = build_runner(toy_cfg, resume="auto")
    assert "trained with 4 images a step (1 processes of 4), this run takes 3" in _log(runner)


def _changed(toy_cfg, **changes):
    toy_cfg.merge_from_dict(changes)
    return toy_cfg


def test_a_longer_schedule_is_followed(toy_cfg, trained):
    """The checkpoints were trained at one rate; the run goes on along a schedule that falls."""
    schedule = dict(type="PolyLR", by_epoch=False, begin=0, end=9)
    cfg = _changed(toy_cfg, **{"train_cfg.max_iters": 8, "param_scheduler": [schedule]})
    runner = build_runner(cfg, resume="auto")
    runner.train()
    rates = runner.message_hub.get_scalar("train/lr").data[0]
    assert rates[:6].tolist() == [0.1] * 6
    assert rates[6:] == pytest.approx([0.1 * (1 - step / 8) for step in (6, 7)])
    assert "iter_6.pth' was trained with 0 schedules (now 1): the run goes on" in _log(runner)


META = dict(
    iter=6,
    seed=3,
    plain_config=dict(
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=6),
        train_dataloader=dict(batch_size=4, sampler=dict(type="InfiniteSampler")),
        custom_hooks=[dict(type="PhaseHook", phases=dict(cls=0, pseudo=4, propagated=8))],
        randomness=dict(seed=3),
    ),
)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("randomness.seed", 4, "randomness.seed 3, this run has 4"),
        ("randomness.seed", None, None),
        (
            "optim_wrapper.optimizer.type",
            "AdamW",
            "optim_wrapper.optimizer.type SGD before iteration 6, this run has AdamW",
        ),
        ("optim_wrapper.optimizer.lr", 1, None),  # is followed
        ("train_cfg.max_iters", 9, None),
        ("train_cfg.type", "EpochBasedTrainLoop", "train_cfg.type IterBasedTrainLoop"),
        ("train_dataloader.batch_size", 2, None),  # is said
        ("train_dataloader.sampler.type", "DefaultSampler", "train_dataloader.sampler {"),
        ("train_dataloader.sampler.shuffle", False, "train_dataloader.sampler {"),
        ("train_dataloader.sampler.shuffle", True, None),  # the default
        ("custom_hooks.0.phases.propagated", 7, None),  # phases to come may move
        ("custom_hooks.0.phases.propagated", 6, None),
        (
            "custom_hooks.0.phases.propagated",
            5,
            "phases {'cls': 0, 'pseudo': 4} before iteration 6, this run has {'cls': 0, 'propaga",
        ),
        ("custom_hooks.0.phases.pseudo", 7, "this run has {'cls': 0}"),
        ("custom_hooks.0.type", "ReproducibleHook", "this run has {}"),
    ],
)
def test_what_cannot_change_in_the_middle_of_a_run(key, value, text):
    cfg = Config(copy.deepcopy(META["plain_config"]))
    cfg.merge_from_dict({key: value})
    found = list(_differences(cfg, META))
    assert len(found) == (text is not None)
    assert text is None or text in found[0]
    assert list(_differences(cfg, dict(META, plain_config=None, seed=None))) == []


def test_another_training_is_refused_and_no_older_checkpoint_taken(toy_cfg, trained):
    cfg = _changed(toy_cfg, **{"train_dataloader.sampler.shuffle": False})
    for resume in ("auto", str(trained / "iter_6.pth")):
        with pytest.raises(CheckpointError) as error:
            build_runner(cfg, resume=resume)
        assert str(error.value).startswith(f"'{trained / 'iter_6.pth'}' was trained with train_da")
        assert "load_from=CHECKPOINT, without --resume" in str(error.value)

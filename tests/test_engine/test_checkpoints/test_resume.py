import os
from pathlib import Path

import pytest
import torch

from afa.engine.checkpoints.fit import CheckpointError
from afa.engine.checkpoints.resume import checkpoints
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

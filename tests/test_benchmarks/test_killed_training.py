import json
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from afa.utils.checkpoint import load_state
from killed_training import KINDS, Kill, _Training, kill_and_resume, read_log, run_differences


@pytest.fixture
def cfg(toy_cfg):
    toy_cfg.default_hooks.checkpoint.update(max_keep_ckpts=1)
    toy_cfg.val_dataloader.dataset.length = 13  # odd: the processes have not as many
    return toy_cfg


def test_three_kills_leave_no_trace(cfg, tmp_path):
    cfg.train_dataloader.num_workers = 2
    cfg.custom_hooks.append(dict(type="EMAHook"))
    result = kill_and_resume(cfg, tmp_path, kills=3, amp=True, seed=1)
    assert result["differences"] == []
    assert sum(result["kills"].values()) == 3 and set(result["kills"]) <= set(KINDS)


def test_two_processes_end_together_resume_and_log_once(cfg, tmp_path):
    cfg.train_dataloader.batch_size = 2
    result = kill_and_resume(cfg, tmp_path, kills=2, processes=2, seed=5)
    assert result["differences"] == []
    assert result["slowest_end"] > 0  # above PATIENCE it is an error
    # Logs, and what is saved, come from the first process alone.
    assert len(list((tmp_path / "whole").glob("*/vis_data/scalars.json"))) == 1
    assert len(list((tmp_path / "whole").glob("*/*.log"))) == 1
    # The run goes on in one process, with as many images a step.
    cfg.train_cfg.max_iters = 9
    cfg.train_dataloader.batch_size = 4
    alone = _Training(cfg, tmp_path / "whole", 1, False)
    assert alone.run(None, 0.0) is False
    state = load_state(tmp_path / "whole/iter_9.pth")
    assert state["meta"]["batch"] == dict(per_process=4, processes=1)
    log = "".join(path.read_text() for path in (tmp_path / "whole").glob("*/*.log"))
    assert "resumed epoch: 0, iter: 6" in log and "images a step" not in log


@pytest.mark.parametrize("kind", KINDS[1:4])
def test_a_kill_in_the_middle_leaves_a_checkpoint_to_go_on_from(cfg, tmp_path, kind):
    training = _Training(cfg, tmp_path / "run", 1, False)
    assert training.run(Kill(kind, 2, 0.0), 0.0) is True
    (checkpoint,) = (tmp_path / "run").glob("iter_*.pth")
    assert load_state(checkpoint)["meta"]["iter"] == 3
    assert training.run(None, 0.0) is False
    assert load_state(tmp_path / "run/iter_6.pth")["meta"]["iter"] == 6
    assert not list((tmp_path / "run").glob(".*.part"))


def test_an_error_of_a_process_comes_first_and_ends_all(cfg, tmp_path):
    from toy_run import ToyTransform

    real = ToyTransform.transform

    def fail(self, results):
        import os

        if os.environ.get("RANK") == "1" and self.noise == 0.5:
            raise ValueError("the photo of process 1 is broken")
        return real(self, results)

    training = _Training(cfg, tmp_path / "run", 2, False)
    ToyTransform.transform = fail
    try:
        with pytest.raises(RuntimeError, match="A process ended with status"):
            training.run(None, 0.0)
    finally:
        ToyTransform.transform = real
    logs = [(tmp_path / f"run-{rank}.log") for rank in range(2)]
    assert "the photo of process 1 is broken" in logs[1].read_text()
    assert "the photo of process 1" not in logs[0].read_text()
    assert "another process of this run has ended" in logs[0].read_text()
    assert logs[1].stat().st_mtime_ns <= logs[0].stat().st_mtime_ns


def _write(folder, weight=1.0, loss=0.5, figure=0.25, seconds=3.0, name="iter_10.pth"):
    buffers = {
        "train/loss": HistoryBuffer([loss], [1]),
        "train/time": HistoryBuffer([seconds], [1]),
    }
    state = dict(
        state_dict={"w": torch.tensor([weight])},
        optimizer=dict(state={0: dict(step=torch.tensor(3.0))}, param_groups=[dict(lr=0.1)]),
        message_hub=dict(log_scalars=OrderedDict(buffers)),
        meta=dict(time=str(seconds)),
    )
    log = folder / f"2026_{seconds}/vis_data"
    log.mkdir(parents=True)
    torch.save(state, folder / name)
    lines = [dict(step=10, loss=loss, memory=seconds), {"step": 10, "val/mIoU": figure}]
    (log / "scalars.json").write_text("\n".join(map(json.dumps, lines)) + "\n{cut o")
    return folder


def test_equal_runs_differ_in_nothing_but_time(tmp_path):
    one, other = _write(tmp_path / "a"), _write(tmp_path / "b", seconds=9.0)
    assert run_differences(one, other) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (dict(weight=np.nextafter(np.float32(1), np.float32(2))), ["state_dict.w differs"]),
        (
            dict(loss=math.nextafter(0.5, 1)),
            ["history.train/loss differs", "log.train 10.loss differs"],
        ),
        (dict(figure=math.nan), ["log.val 10.val/mIoU differs"]),
        (dict(name="iter_9.pth"), ["checkpoints[0] differs"]),
    ],
)
def test_the_last_bit_counts(tmp_path, change, lines):
    one, other = _write(tmp_path / "a"), _write(tmp_path / "b", **change)
    assert run_differences(one, other) == lines


def test_nan_is_equal_to_nan_and_the_last_line_counts(tmp_path):
    one = _write(tmp_path / "a", loss=math.nan)
    other = _write(tmp_path / "b", loss=math.nan)
    earlier = other / "2025/vis_data"
    earlier.mkdir(parents=True)
    (earlier / "scalars.json").write_text(json.dumps(dict(step=10, loss=7.0)))
    assert run_differences(one, other) == []
    assert set(read_log(other)) == {"train 10", "val 10"}


def test_what_only_one_has_is_named(tmp_path):
    one, other = _write(tmp_path / "a"), _write(tmp_path / "b")
    state = torch.load(other / "iter_10.pth", weights_only=False)
    state["state_dict"]["more"] = torch.zeros(1)
    torch.save(state, other / "iter_10.pth")
    assert run_differences(one, other) == ["state_dict.more is missing in the first run"]


def test_a_run_without_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint in"):
        run_differences(tmp_path, tmp_path)

import json
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from afa.testing.run_differences import read_log, run_differences


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

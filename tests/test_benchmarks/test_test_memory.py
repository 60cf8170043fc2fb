import json
from pathlib import Path

import pytest
import torch

from afa.engine.config import load_config
from process_memory import MemorySample
from test_memory import run_memory_test


@pytest.fixture
def commands(monkeypatch):
    """Replace the run of tools/test.py; its report says 10 s, 5 s with two workers."""
    ran = []

    def run(command, log, interval):
        ran.append(command)
        folder = Path(command[command.index("--work-dir") + 1]) / "20260101_000000"
        folder.mkdir()
        seconds = 5.0 if command[-1] == "2" else 10.0
        (folder / "test.json").write_text(json.dumps(dict(seconds=seconds, num_images=4)))
        return 0, [MemorySample(float(i), 400.0, 500.0 + i, 2) for i in range(11)]

    monkeypatch.setattr("process_memory.run_measured", run)
    return ran


def test_single_scale(commands, tmp_path):
    result = run_memory_test(tmp_path, 4)
    (run,) = result["runs"]
    assert (run["name"], run["peak_mib"], run["images_per_second"]) == ("single scale", 510, 0.4)
    assert run["growth_mib"] == 7  # 1 MiB a second, in the last 7.5 s
    assert json.loads((tmp_path / "memory.json").read_text())["runs"][0]["peak_mib"] == 510
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert "speedup" not in result
    assert len(list((tmp_path / "data/JPEGImages").glob("val_*.jpg"))) == 4
    cfg = load_config(commands[0][2])
    assert cfg.model.test_cfg.pseudo_labels is False
    assert cfg.test_dataloader.dataset.data_root == str(tmp_path / "data")
    weights = torch.load(tmp_path / "drawn.pth", weights_only=True)["state_dict"]
    assert "decode_head.conv_seg.weight" in weights


def test_several_numbers_of_workers_are_compared(commands, tmp_path):
    result = run_memory_test(tmp_path, 4, input_size=32, tta=True, crf_workers=[1, 2])
    assert [run["name"] for run in result["runs"]] == [
        "--tta --crf --crf-workers 1",
        "--tta --crf --crf-workers 2",
    ]
    assert result["speedup"] == {"--tta --crf --crf-workers 2": 2.0}
    assert commands[1][-4:] == ["--tta", "--crf", "--crf-workers", "2"]
    pipeline = load_config(commands[0][2]).test_dataloader.dataset.pipeline
    assert pipeline[1] == dict(type="Resize", scale=(32, 32), keep_ratio=True)


def test_a_test_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("process_memory.run_measured", lambda *args: (2, []))
    with pytest.raises(ValueError, match=r"ended with status 2: see .*console\.log"):
        run_memory_test(tmp_path, 2)

import json
import sys
from pathlib import Path

import pytest

import train_memory
from afa.engine.config import load_config
from process_memory import MemorySample
from train_memory import run_train_memory


@pytest.fixture
def commands(monkeypatch):
    """Replace the run of tools/train.py: 100 s, the workers grow by 1 MiB a second."""
    ran = []

    def run(command, log, interval):
        ran.append((command, interval))
        return 0, [MemorySample(float(i), 400.0, 500.0 + i, 3) for i in range(101)]

    monkeypatch.setattr("process_memory.run_measured", run)
    return ran


def test_figures_and_files(commands, tmp_path):
    result = run_train_memory(tmp_path, 50, 5, interval=0.5)
    assert (result["peak_mib"], result["growth_mib"]) == (600, 60)
    assert (result["trainer_peak_mib"], result["trainer_growth_mib"]) == (400, 0)
    stored = json.loads((tmp_path / "memory.json").read_text())
    assert stored["seconds"] == 100 and len(stored["samples"]) == 101
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    ((command, interval),) = commands
    assert interval == 0.5 and command[1].endswith("tools/train.py")


def test_the_config_is_a_small_one_of_all_phases(commands, tmp_path):
    run_train_memory(tmp_path, 50, 5, crop=48, batch_size=3, workers=1)
    cfg = load_config(commands[0][0][2])
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (50, 10)
    assert cfg.default_hooks.checkpoint.interval == 10
    assert cfg.custom_hooks[0] == dict(
        type="PhaseHook", phases=dict(cls=0, pseudo=10, propagated=20)
    )
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 1, True)
    assert loader.dataset.data_root == str(tmp_path / "data")
    steps = {step.type: step for step in loader.dataset.pipeline}
    assert steps["Resize"].scale == (48, 48) == steps["RandomCropPad"].crop_size
    assert cfg.model.data_preprocessor.size == (48, 48)
    assert len(list(Path(tmp_path / "data/JPEGImages").glob("train_*.jpg"))) == 64


def test_faults_are_told(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="1 to 4 validations in 4 iterations, got 5"):
        run_train_memory(tmp_path, 4, 5)
    monkeypatch.setattr("process_memory.run_measured", lambda *args: (2, []))
    with pytest.raises(ValueError, match=r"The training ended with 2: see .*console\.log"):
        run_train_memory(tmp_path, 5, 5)


def test_arguments_and_the_last_line(tmp_path, monkeypatch, capsys):
    asked = {}

    def fake(**arguments):
        asked.update(arguments)
        keys = ("peak_mib", "growth_mib", "trainer_peak_mib", "trainer_growth_mib")
        return dict(seconds=61.0, **dict(zip(keys, (900, 1.5, 700, 0.5), strict=True)))

    monkeypatch.setattr(train_memory, "run_train_memory", fake)
    monkeypatch.setattr(sys, "argv", ["x", "--num-iters", "50", "--work-dir", str(tmp_path)])
    train_memory.main()
    assert (asked["num_iters"], asked["num_vals"], asked["workers"]) == (50, 5, 2)
    said = capsys.readouterr().out
    assert said.startswith("61 s; peak 900 MiB, growth at the end 1.5 MiB")

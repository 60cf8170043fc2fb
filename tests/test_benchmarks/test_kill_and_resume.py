import json
import runpy
import sys

import pytest
from toy_run import write_cfg


@pytest.mark.parametrize(("differences", "status"), [([], 0), (["state_dict.w differs"], 1)])
def test_each_number_of_workers_and_the_status(
    repo, tmp_path, monkeypatch, capsys, differences, status
):
    asked = []

    def fake(cfg, work, kills, processes, amp, seed):
        asked.append((cfg.train_dataloader.num_workers, kills, processes, amp, seed))
        return dict(kills={"iteration": kills}, differences=differences)

    monkeypatch.setattr("killed_training.kill_and_resume", fake)
    config = write_cfg(tmp_path)
    command = ["x", config, "--kills", 7, "--workers", 0, 2, "--amp", "--work-dir", tmp_path / "w"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    (tmp_path / "w").mkdir()
    code = 0
    try:
        tool = repo / "tools/benchmarks/kill_and_resume.py"
        runpy.run_path(str(tool), run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    assert code == status
    assert asked == [(0, 7, 1, True, 0), (2, 7, 1, True, 0)]
    written = json.loads((tmp_path / "w/kill_and_resume.json").read_text())
    assert written["results"]["workers 2"]["differences"] == differences
    assert "torch" in written["versions"] and "--kills" in written["command"]

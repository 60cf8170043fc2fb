"""The tool that generates Shapes, as a user calls it."""

import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "dataset_converters" / "shapes.py"


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def test_help_is_quick():
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(TOOL), "--help"], capture_output=True, text=True, check=True
    )
    assert "data/shapes" in done.stdout
    assert time.monotonic() - start < 2


def test_generates_then_says_that_it_is_complete_then_refuses(call, tmp_path):
    small = (str(tmp_path / "shapes"), "--num-train", "2", "--num-val", "1", "--size", "64")
    code, out, err = call(*small)
    assert (code, err) == (0, "") and "3/3 pictures" in out and "Done in" in out
    code, out, _ = call(*small)
    assert code == 0 and "Already complete" in out
    code, _, err = call(*small, "--seed", "5")
    assert code == 2 and "seed is 0, not 5" in err and "Traceback" not in err
    code, out, _ = call(*small, "--seed", "5", "--overwrite")
    assert code == 0 and "Done in" in out


def test_a_stop_is_one_sentence(call, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("afa.datasets.shapes_writer.generate_sample", stop)
    code, _, err = call(str(tmp_path / "shapes"))
    assert code == 130 and "Stopped" in err

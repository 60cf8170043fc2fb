"""What the tests of the command lines share."""

import runpy
import sys

import pytest


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Tools run as one process that no launcher has started."""
    for name in ("RANK", "AFA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")


@pytest.fixture
def run_main(repo, monkeypatch, capsys):
    """Run a tool in this process, where the imports are: status, stdout, stderr."""

    def call(name, *args):
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        status = 0
        try:
            runpy.run_path(str(repo / "tools" / name), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return call

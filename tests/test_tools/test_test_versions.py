import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def tool(repo):
    return SimpleNamespace(**runpy.run_path(str(repo / "tools/dev/test_versions.py")))


def test_a_python_is_found_by_what_it_says_of_itself(tool, tmp_path, monkeypatch):
    fake = tmp_path / "python3.99"
    fake.write_text("#!/bin/sh\necho 3.99\n")
    fake.chmod(0o755)
    (tmp_path / "python3.98").write_text("#!/bin/sh\nexit 1\n")  # a shim without its Python
    (tmp_path / "python3.98").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert tool.find_python("3.99") == str(fake)
    assert tool.find_python("3.98") is None and tool.find_python("3.97") is None


def test_an_extra_that_cannot_be_built_is_left_out(tool, tmp_path, monkeypatch):
    asked = []

    def run(command, **_):
        asked.append(command[-1])
        failed = "crf" in command[-1]
        return SimpleNamespace(returncode=int(failed), stderr="long\nFailed building\n", stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    assert tool.install("python3", tmp_path, "oldest") == ""
    assert asked[0] == str(tmp_path) and all("[" in last for last in asked[1:])
    assert [last.rpartition("[")[2] for last in asked[1:]] == ["crf,test]", "test]"]
    assert tool.install("python3", tmp_path, "oldest") == "" and len(asked) == 3  # it is there
    (tmp_path / ".ready").unlink()
    nothing = SimpleNamespace(returncode=1, stderr="long\nno wheel\n", stdout="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **_: nothing)
    assert tool.install("python3", tmp_path, "newest") == "does not install: no wheel"


def test_a_python_that_is_not_there_is_told(tool, tmp_path, monkeypatch, capsys):
    work = str(tmp_path / "w")
    monkeypatch.setattr(sys, "argv", ["x", "--python", "3.97", "--work-dir", work])
    assert tool.main() == 0
    assert "| 3.97 | oldest | not tested: no such Python" in capsys.readouterr().out
    rows = json.loads((tmp_path / "w/versions.json").read_text())
    assert [row["torch"] for row in rows] == ["oldest", "newest"]


def test_the_oldest_torch_is_that_of_setup_cfg(tool, repo):
    assert f"torch>={tool.OLDEST[0].partition('==')[2][:3]}" in (repo / "setup.cfg").read_text()

"""The command line; what is measured is tested beside afa/apis."""

import json

import pytest
from toy_stages import run_tool

NAME = "analysis_tools/benchmark.py"


@pytest.fixture(autouse=True)
def _known_limits(monkeypatch):
    """Measuring the machine takes seconds."""
    limits = dict(bytes_per_second=1e9, flops=1e9)
    monkeypatch.setattr("afa.apis.benchmark.machine_limits", lambda *args: limits)


def test_it_works_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "speed.json"
    args = ["--parts", "losses", "affinity_labels", "--crop", 64, "--batch", 1, "--json", out]
    assert run_tool(NAME, *args) == 0
    assert "| Affinity labels and loss, 4 x 4 tokens |" in capsys.readouterr().out
    assert list(json.loads(out.read_text())["parts"]) == ["losses", "affinity_labels"]
    assert "Segmentation loss, 21 classes" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--parts", "pax"], "invalid choice: 'pax'"),
        (["--parts", "par", "--crop", "33"], "--crop must be a multiple of 32"),
        (["--parts", "data", "--data-root", "no/where"], "parts data need photos"),
        (["no.py", "--parts", "par"], "no.py"),
    ],
)
def test_wrong_input_is_one_sentence(capsys, args, text):
    assert run_tool(NAME, *args) == 2
    err = capsys.readouterr().err
    assert text in err and "Traceback" not in err

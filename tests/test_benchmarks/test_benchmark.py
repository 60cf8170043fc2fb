import json

import pytest
from toy_stages import run_tool

from benchmark import default_parts, run_benchmark
from speed_measure import Case
from speed_options import PARTS, BenchmarkOptions

LIMITS = dict(bytes_per_second=1e9, flops=1e9)
NAME = "benchmarks/benchmark.py"


@pytest.fixture
def known_limits(monkeypatch, alone):
    """Measuring the machine takes seconds."""
    monkeypatch.setattr("speed_measure.machine_limits", lambda *args: LIMITS)


@pytest.fixture
def quick(monkeypatch):
    """Measure nothing at all, only that it is asked for."""
    built = []
    monkeypatch.setattr("speed_measure.machine_limits", lambda device, dtype: LIMITS)
    monkeypatch.setattr("speed_parts.build_setup", lambda *args, **kwargs: built.append(kwargs))
    cases = {name: lambda setup, name=name: Case(name, lambda: None, counted=False, budget=0.0)
             for name in ("par", "walk")}  # fmt: skip
    monkeypatch.setattr("speed_parts.CASES", cases)
    return built


def test_parts_come_together_in_one_file(tmp_path, quick, capsys):
    path = tmp_path / "new" / "speed.json"
    run_benchmark(BenchmarkOptions(parts=("par",), json=str(path), command="first"))
    first = json.loads(path.read_text())
    options = BenchmarkOptions(parts=("walk",), json=str(path), command="second", crop=96)
    result = run_benchmark(options)
    found = json.loads(path.read_text())
    assert list(found["parts"]) == list(result["parts"]) == ["par", "walk"]
    assert found["parts"]["par"] == first["parts"]["par"]
    assert found["command"] == "second" and found["limits"] == dict(float32=LIMITS)
    assert found["parts"]["walk"]["date"] and found["versions"]["torch"]
    assert (
        "| walk |" in path.with_suffix(".md").read_text() and "walk ..." in capsys.readouterr().out
    )
    assert quick[1]["crop"] == 96 and quick[1]["batch"] == 2


def test_bf16_stands_beside_float32(tmp_path, quick):
    path = tmp_path / "speed.json"
    for dtype in ("float32", "bfloat16"):
        run_benchmark(BenchmarkOptions(parts=("par",), json=str(path), dtype=dtype))
    found = json.loads(path.read_text())
    assert list(found["parts"]) == ["par", "par/bfloat16"] and len(found["limits"]) == 2


def test_a_file_of_another_machine_is_refused(tmp_path, quick):
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(dict(machine="another", threads=1, parts={})))
    with pytest.raises(ValueError, match="measured on another machine"):
        run_benchmark(BenchmarkOptions(parts=("par",), json=str(path)))


def test_default_parts(tmp_path):
    with_photos = default_parts("cpu", str(tmp_path))
    assert set(PARTS) - set(with_photos) == {"scaling", "throughput"}
    assert set(with_photos) - set(default_parts("cpu", "no/where")) == {"data", "crf", "test"}
    assert default_parts("cuda", str(tmp_path))[-1] == "throughput"


def test_it_works_from_the_command_line(tmp_path, capsys, known_limits):
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
def test_wrong_input_is_one_sentence(capsys, known_limits, args, text):
    assert run_tool(NAME, *args) == 2
    err = capsys.readouterr().err
    assert text in err and "Traceback" not in err

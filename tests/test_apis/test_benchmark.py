import json

import pytest
import torch

from afa.apis import benchmark, benchmark_scaling
from afa.apis.benchmark import default_parts, run_benchmark
from afa.apis.benchmark_measure import Case, timed
from afa.apis.benchmark_options import PARTS, BenchmarkOptions
from afa.apis.benchmark_processes import possible_processes, step_of_processes

LIMITS = dict(bytes_per_second=1e9, flops=1e9)


@pytest.fixture
def quick(monkeypatch):
    """Measure nothing at all, only that it is asked for."""
    built = []
    monkeypatch.setattr(benchmark, "machine_limits", lambda device, dtype: LIMITS)
    monkeypatch.setattr(benchmark, "build_setup", lambda *args, **kwargs: built.append(kwargs))
    cases = {name: lambda setup, name=name: Case(name, lambda: None, counted=False, budget=0.0)
             for name in ("par", "walk")}  # fmt: skip
    monkeypatch.setattr(benchmark, "CASES", cases)
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


def _once(funcs, device, budget, most=1):
    return [[timed(func, device)] for func in funcs]


@pytest.fixture
def small_config(tmp_path):
    """A config with a network that takes a tenth of a second."""
    path = tmp_path / "small.py"
    path.write_text(
        f"_base_ = '{benchmark.__file__.split('afa/apis')[0]}configs/_base_/models/afa_mit-b1.py'\n"
        "model = dict(backbone=dict(arch='b0'), cls_head=dict(in_channels=256), "
        "decode_head=dict(in_channels=[32, 64, 160, 256], channels=16))\n"
    )
    return str(path)


def test_two_processes_share_a_batch(small_config, monkeypatch):
    options = BenchmarkOptions(config=small_config, crop=64, batch=2)
    assert possible_processes(options) == [1, 2]
    assert possible_processes(BenchmarkOptions(batch=3)) == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert possible_processes(BenchmarkOptions(device="cuda", batch=4)) == [1]
    assert 0 < step_of_processes(options, 2) < 60


def test_scaling_and_throughput(monkeypatch, tmp_path, small_config):
    monkeypatch.setattr(benchmark, "machine_limits", lambda device, dtype: LIMITS)
    for name, values in dict(CROPS=(64,), CLASSES=(5,), BATCHES=()).items():
        monkeypatch.setattr(benchmark_scaling, name, values)
    monkeypatch.setattr(benchmark_scaling, "peak_memory", lambda func, device: 12.5)
    monkeypatch.setattr(benchmark_scaling, "take_turns", _once)
    monkeypatch.setattr(benchmark_scaling, "step_of_processes", lambda options, number: 0.5)
    options = BenchmarkOptions(
        parts=("scaling", "throughput"), config=small_config, crop=64, batch=1,
        json=str(tmp_path / "speed.json"),
    )  # fmt: skip
    parts = run_benchmark(options)["parts"]
    rows = parts["scaling"]["rows"]
    assert [(row["name"], row["value"]) for row in rows] == [
        ("crop", 64), ("num_classes", 5), ("processes", 1),
    ]  # fmt: skip
    assert all(row["par"] > 0 and row["step"] > 0 for row in rows[:2])
    assert rows[2]["step"] == 0.5
    (row,) = parts["throughput"]["rows"]
    assert row["batch"] == 1 and row["images_per_second"] == pytest.approx(1 / row["step"])
    assert set(row["shares"]) >= {"CAMs", "PAR", "forward pass"} and row["recipe_hours"] > 0
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")

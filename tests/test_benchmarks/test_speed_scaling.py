import pytest
import torch

import speed_scaling
from benchmark import run_benchmark
from speed_measure import timed
from speed_options import BenchmarkOptions
from speed_scaling import measure_throughput, possible_processes, step_of_processes

LIMITS = dict(bytes_per_second=1e9, flops=1e9)


def _once(funcs, device, budget, most=1):
    return [[timed(func, device)] for func in funcs]


@pytest.fixture
def small_config(repo, tmp_path):
    """A config with a network that takes a tenth of a second."""
    path = tmp_path / "small.py"
    path.write_text(
        f"_base_ = '{repo}/configs/_base_/models/afa_mit-b1.py'\n"
        "model = dict(backbone=dict(arch='b0'), "
        "decode_head=dict(channels=16))\n"
    )
    return str(path)


def test_two_processes_share_a_batch(small_config, monkeypatch):
    options = BenchmarkOptions(config=small_config, crop=64, batch=2)
    assert possible_processes(options) == [1, 2]
    assert possible_processes(BenchmarkOptions(batch=3)) == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert possible_processes(BenchmarkOptions(device="cuda", batch=4)) == [1]
    assert step_of_processes(options, 2) > 0


def test_scaling_and_throughput(monkeypatch, tmp_path, small_config):
    monkeypatch.setattr("speed_measure.machine_limits", lambda device, dtype: LIMITS)
    for name, values in dict(CROPS=(64,), CLASSES=(5,), BATCHES=()).items():
        monkeypatch.setattr(speed_scaling, name, values)
    monkeypatch.setattr(speed_scaling, "peak_memory", lambda func, device: 12.5)
    monkeypatch.setattr(speed_scaling, "take_turns", _once)
    monkeypatch.setattr(speed_scaling, "step_of_processes", lambda options, number: 0.5)
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


def test_too_little_memory_is_a_row_of_the_table(monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(speed_scaling, "build_setup", full)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    rows = measure_throughput(BenchmarkOptions(crop=64, batch=1))["rows"]
    assert rows == [dict(arch=None, batch=1, mode="float32", crop=64, error="out of memory")]


def test_a_gpu_is_measured_in_every_size_and_precision(monkeypatch):
    seen, before = [], torch.backends.cuda.matmul.allow_tf32

    def phases(setup):
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return dict(step=1.0)

    built = []
    monkeypatch.setattr(speed_scaling, "build_setup", lambda *a, **k: built.append((a, k)))
    monkeypatch.setattr(speed_scaling, "_phases_and_shares", phases)
    rows = measure_throughput(BenchmarkOptions(device="cuda"))["rows"]
    assert len(rows) == 3 * 3 * 5 and rows[0]["crop"] == 512
    sizes = [(row["arch"], row["batch"], row["mode"]) for row in rows]
    assert sizes[:3] == [("b1", 4, "float32"), ("b1", 4, "tf32"), ("b1", 4, "bfloat16")]
    assert {mode for _, _, mode in sizes[3:11]} == {"bfloat16"} and len(set(sizes)) == 45
    assert sizes[11:13] == [("b1", 4, "bfloat16 compiled"), ("b1", 4, "bfloat16 CUDA graphs")]
    assert seen[:4] == [False, True, False, False]
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert built[2][0][4] == torch.bfloat16 and built[11][1] == dict(compiled=True)
    assert built[12][1] == dict(compiled=dict(mode="reduce-overhead"))


def test_measuring_stops_between_rows(monkeypatch):
    clock, kept = iter(range(100)), []
    monkeypatch.setattr(speed_scaling.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(speed_scaling, "_throughput", lambda options, row: dict(step=1.0))
    options = BenchmarkOptions(device="cuda", seconds=3)
    found = measure_throughput(options, lambda found: kept.append(len(found["rows"])))
    assert len(found["rows"]) == 3 and kept == [1, 2, 3]


def test_recipe_is_the_published_schedule():
    assert sum(speed_scaling.RECIPE.values()) == pytest.approx(20000)

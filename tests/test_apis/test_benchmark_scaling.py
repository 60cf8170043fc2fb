import pytest
import torch

from afa.apis import benchmark_scaling
from afa.apis.benchmark_options import BenchmarkOptions
from afa.apis.benchmark_scaling import measure_throughput


def test_too_little_memory_is_a_row_of_the_table(monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(benchmark_scaling, "build_setup", full)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    rows = measure_throughput(BenchmarkOptions(crop=64, batch=1))["rows"]
    assert rows == [dict(arch=None, batch=1, mode="float32", crop=64, error="out of memory")]


def test_a_gpu_is_measured_in_every_size_and_precision(monkeypatch):
    seen, before = [], torch.backends.cuda.matmul.allow_tf32

    def phases(setup):
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return dict(step=1.0)

    built = []
    monkeypatch.setattr(benchmark_scaling, "build_setup", lambda *a, **k: built.append((a, k)))
    monkeypatch.setattr(benchmark_scaling, "_phases_and_shares", phases)
    rows = measure_throughput(BenchmarkOptions(device="cuda"))["rows"]
    assert len(rows) == 3 * 3 * 4 and rows[0]["crop"] == 512
    assert [row["mode"] for row in rows[:4]] == ["float32", "tf32", "bfloat16", "bfloat16 compiled"]
    assert seen[:4] == [False, True, False, False]
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert built[2][0][4] == torch.bfloat16 and built[3][1] == dict(compiled=True)


def test_recipe_is_the_published_schedule():
    assert sum(benchmark_scaling.RECIPE.values()) == pytest.approx(20000)

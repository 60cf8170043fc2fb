import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from speed_measure import (
    Case,
    count_work,
    machine_limits,
    measure_case,
    spread,
    take_turns,
)

LIMITS = dict(bytes_per_second=1e9, flops=1e10)


@pytest.fixture
def work(monkeypatch):
    """Make a function that takes some seconds, by a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr("speed_measure.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def make(seconds):
        def run():
            now[0] += seconds

        return run

    return make


def test_take_turns_warms_up_once_and_alternates(work):
    calls, one, two = [], work(0.25), work(0.5)
    funcs = [lambda: (calls.append("a"), one()), lambda: (calls.append("b"), two())]
    times = take_turns(funcs, "cpu", 10.0, most=3)
    assert "".join(calls) == "ab" + "ab" * 3
    assert times == [[0.25] * 3, [0.5] * 3]


def test_take_turns_stops_when_the_budget_is_spent(work):
    assert take_turns([work(0.25)], "cpu", 0.0) == [[0.25] * 2]
    # Another round is begun as long as it is likely to end in time.
    assert take_turns([work(0.25)], "cpu", 1.0) == [[0.25] * 4]


def test_the_clock_runs():
    assert take_turns([lambda: sum(range(1000))], "cpu", 0.0)[0][0] > 0


def test_spread_by_hand():
    assert spread([3.0, 1.0, 2.0, 9.0]) == dict(median=2.5, low=1.0, high=9.0, runs=4)


def test_measure_case_compares_with_the_reference_and_the_machine(work):
    case = Case("work", work(0.02), work(0.2), (2, 3), work=(1e6, 2e7), budget=0.0, notes=dict(a=1))
    found = measure_case(case, "cpu", LIMITS)
    assert found["ratio"] == pytest.approx(10)
    assert found["target"] == [2, 3] and found["notes"] == dict(a=1)
    assert found["floor"] == pytest.approx(0.002)  # 2e7 operations; the bytes take 0.001 s
    assert found["above_floor"] == pytest.approx(found["ours"]["median"] / 0.002)
    assert found["ours"]["median"] == pytest.approx(0.02)
    assert "memory" not in found


def test_a_part_alone_has_no_ratio():
    found = measure_case(Case("nothing", lambda: None, counted=False, budget=0.0), "cpu", LIMITS)
    assert not {"ratio", "reference", "target", "floor", "memory_ratio"} & set(found)


# In a process of its own: what other tests have freed may be used again without a trace.
MEMORY = """
import torch
from speed_measure import Case, measure_case, peak_memory

def run():
    torch.ones(32 * 2**20).sum()  # 128 MiB: what a process loads on the way does not count
    torch.ones(16 * 2**20).sum()

peak = peak_memory(run, "cpu")
case = Case("memory", run, lambda: torch.ones(64 * 2**20).sum(), memory=True, budget=0.0,
            memory_target=(0.6, 0.4), counted=False)
found = measure_case(case, "cpu", dict(bytes_per_second=1e9, flops=1e9))
print(peak, found.get("memory_ratio"), found["memory_target"], sep=";")
"""


def test_peak_memory_sees_what_is_held_at_a_time(repo):
    env = {**os.environ, "PYTHONPATH": f"{repo}{os.pathsep}{repo / 'tools/benchmarks'}"}
    command = [sys.executable, "-c", MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    peak, ratio, target = done.stdout.strip().split(";")
    if peak == "None":
        pytest.skip("this system does not tell the peak memory")
    assert 120 < float(peak) < 140
    assert 0.4 < float(ratio) < 0.6 and target == "[0.6, 0.4]"


def test_count_work_by_hand():
    a, b = torch.rand(4, 8), torch.rand(8, 2)
    moved, operations = count_work(lambda: (a @ b).t().relu())
    assert operations == 2 * 4 * 8 * 2 + 8 + 8
    assert moved == 4 * ((32 + 16 + 8) + (8 + 8))  # the transposed view moves nothing


def test_machine_limits_by_hand(monkeypatch):
    times, asked = {1: [0.5, 0.25], 2: [0.125, 0.5]}, []

    def turns(funcs, device, seconds):
        asked.append((device, seconds))
        (func,) = funcs
        func()
        return [times[len(asked)]]

    monkeypatch.setattr("speed_measure.take_turns", turns)
    limits = machine_limits("cpu", numbers=2**16, side=64, seconds=0.01)
    assert asked == [("cpu", 0.01)] * 2
    # The best run counts: float32 read and written, and two operations for each multiplication.
    assert limits == dict(bytes_per_second=2 * 4 * 2**16 / 0.25, flops=2 * 64**3 / 0.125)

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import process_memory
from process_memory import (
    MemorySample,
    growth,
    memory_plot,
    process_tree,
    resident_memory,
    run_measured,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")

HOLD = (
    "import sys, time; held = bytearray({mib} << 20); print(len(held), flush=True); time.sleep({s})"
)


def _samples(totals, processes=1):
    return [MemorySample(float(i), 1.0, total, processes) for i, total in enumerate(totals)]


def test_a_process_and_what_it_started():
    inner = HOLD.format(mib=1, s=20)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    outer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        outer.stdout.readline()  # the inner one runs
        tree = process_tree(outer.pid)
        assert tree[0] == outer.pid and len(tree) == 2
        assert all(resident_memory(pid) > 1 for pid in tree)
    finally:
        for pid in process_tree(outer.pid)[::-1]:
            subprocess.run(["kill", str(pid)], check=False)
        outer.wait()
        outer.stdout.close()
    assert process_tree(outer.pid) == [] and resident_memory(outer.pid) == 0


def test_a_command_is_measured_while_it_runs(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        command = [sys.executable, "-c", HOLD.format(mib=64, s=0.6)]
        status, samples = run_measured(command, log, interval=0.05)
    assert status == 0 and (tmp_path / "log").read_text().strip() == str(64 << 20)
    assert max(sample.total for sample in samples) > 64
    assert all(sample.total == sample.main and sample.processes == 1 for sample in samples)
    assert samples == sorted(samples)


def test_the_status_of_a_command_comes_back():
    assert run_measured([sys.executable, "-c", "raise SystemExit(3)"], interval=0.05)[0] == 3


def test_a_command_ends_when_the_measurement_is_stopped(monkeypatch, tmp_path):
    started = []

    def stop(pid):
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(process_memory, "process_tree", stop)
    code = f"{HOLD.format(mib=1, s=30)}; open({str(tmp_path / 'end')!r}, 'w')"
    with pytest.raises(KeyboardInterrupt):
        run_measured([sys.executable, "-c", code])
    assert not (tmp_path / "end").exists()  # it was ended
    assert process_memory.resident_memory(started[0]) == 0


def test_growth_by_hand():
    assert growth(_samples([5, 5, 10, 12, 14, 16]), last=3) == pytest.approx(6)  # 2 a second
    assert growth(_samples([9, 1, 7, 7, 7, 7]), last=3) == pytest.approx(0)
    assert growth(_samples([1, 2]), last=9) == 0
    assert growth([], last=3) == 0


def test_workers_that_end_are_no_shrinking():
    samples = _samples([10, 10, 11, 11, 12, 12], processes=2)
    samples += [MemorySample(6.0, 1.0, 3.0, 1), MemorySample(7.0, 1.0, 90.0, 3)]
    assert growth(samples, last=7) == pytest.approx(growth(samples[:6], last=7))
    assert growth(samples, last=7) > 2


def test_other_systems_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(process_memory, "_PROC", tmp_path)
    with pytest.raises(ValueError, match="which only Linux has"):
        run_measured(["true"])


def _picture(runs):
    return np.asarray(Image.open(io.BytesIO(memory_plot(runs, "title"))).convert("RGB")).astype(int)


def _has_color(picture, color):
    return (np.abs(picture - color).max(axis=2) < 20).sum() > 100


def test_each_run_has_its_line():
    flat = [MemorySample(60.0 * i, 500.0, 900.0, 2) for i in range(5)]
    one = _picture({"one": flat})
    two = _picture({"one": flat, "two": [s._replace(total=2000.0) for s in flat]})
    blue, orange = np.array((0, 114, 178)), np.array((213, 94, 0))
    assert _has_color(one, blue) and not _has_color(one, orange)
    assert _has_color(two, blue) and _has_color(two, orange)

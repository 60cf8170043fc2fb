import cv2
import numpy as np

from speed_table import benchmark_table, row_text, scaling_plot, seconds_text

TIMES = dict(median=0.0123, low=0.01, high=0.02, runs=3)
PART = dict(
    title="PAR",
    ours=TIMES,
    reference=dict(median=0.246, low=0.2, high=1.5, runs=3),
    ratio=20.0,
    target=[8, 20],
    memory=dict(ours=30.2, reference=60.0),
    memory_ratio=0.503,
    memory_target=[0.6, 0.4],
    above_floor=1.26,
)


def test_seconds():
    assert [seconds_text(v) for v in (12.345, 1.0, 0.5, 0.00123)] == [
        "12.3 s", "1 s", "500 ms", "1.23 ms",
    ]  # fmt: skip


def test_row_by_hand():
    assert row_text(PART) == (
        "| PAR | 12.3 ms (10 ms to 20 ms) | 246 ms (200 ms to 1.5 s) | **20×** | 8× / 20× | "
        "30 MiB, 0.50 (≤ 0.6 / 0.4) | 1.3× |"
    )
    assert row_text(dict(title="Data", ours=TIMES)).endswith(
        "| 12.3 ms (10 ms to 20 ms) | | | | | |".replace("| |", "|  |").replace("| |", "|  |")
    )


def test_a_ratio_below_ten_keeps_a_digit_and_missing_memory_is_left_out():
    row = row_text({**PART, "ratio": 2.345, "memory": dict(ours=None, reference=None)})
    assert "**2.3×**" in row and "MiB" not in row


def test_whole_table():
    shares = dict(CAMs=0.5, PAR=0.25)
    rows = [
        dict(arch="b1", batch=4, mode="tf32", images_per_second=12.34, memory=1000.4,
             shares=shares, recipe_hours=1.23),
        dict(arch=None, batch=8, mode="float32", error="out of memory"),
    ]  # fmt: skip
    scaling = [dict(name="crop", value=320, step=1.5, par=0.1, memory=None)]
    data = dict(
        title="Data", ours=TIMES, notes=dict(decoding=0.004, steps=dict(LoadPhoto=0.005), mean=0.02)
    )
    text = benchmark_table(
        dict(
            machine="a machine, 2 cores",
            threads=2,
            versions=dict(python="3.11", torch="2.15"),
            limits=dict(float32=dict(bytes_per_second=2e10, flops=8e10)),
            parts=dict(
                par=PART, data=data, scaling=dict(title="S", rows=scaling),
                throughput=dict(title="T", rows=rows),
            ),
        )
    )  # fmt: skip
    assert text.startswith("a machine, 2 cores, 2 threads; python 3.11, torch 2.15\n")
    assert "copies 20.0 GB/s (read and written), matrix product in float32 80 GFLOP/s" in text
    assert text.count("| PAR | 12.3 ms") == 1
    assert "| decoding alone | 4 ms |" in text and "| LoadPhoto | 5 ms |" in text
    assert "| crop | 320 | 1.5 s | 100 ms |  |" in text
    assert "| b1 | 4 | tf32 | 12.3 | 1000 MiB | CAMs 50 %, PAR 25 % | 1.2 h |" in text
    assert "| of the config | 8 | float32 | out of memory | | | |" in text


def test_one_picture_for_each_varied_size():
    rows = [dict(name="crop", value=v, step=v / 100, par=v / 1000) for v in (160, 320)]
    one = cv2.imdecode(np.frombuffer(scaling_plot(rows), np.uint8), cv2.IMREAD_COLOR)
    rows += [dict(name="processes", value=2, step=1.0)]
    two = cv2.imdecode(np.frombuffer(scaling_plot(rows), np.uint8), cv2.IMREAD_COLOR)
    assert two.shape[0] == one.shape[0] and two.shape[1] == 2 * one.shape[1]
    assert (one[..., 0] > 150).any() and one.min() < 50  # lines and letters

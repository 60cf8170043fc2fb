"""Memory of a process and of those it started, over time (Linux): measured, and drawn."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_PROC = Path("/proc")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555")  # Okabe and Ito


class MemorySample(NamedTuple):
    """What a command and its processes hold at one time, in MiB."""

    seconds: float  # since the start of the command
    main: float  # resident memory of the command's own process
    total: float  # of all its processes; pages that several share count for each: an upper bound
    processes: int


def process_tree(pid: int) -> list[int]:
    """List a process and all that it has started, directly or not.

    Args:
        pid: The process.

    Returns:
        Their ids, the process first; those that have ended are left out.
    """
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop(0)
        if not (_PROC / str(current)).is_dir():
            continue
        found.append(current)
        for children in (_PROC / str(current) / "task").glob("*/children"):
            try:
                waiting += [int(child) for child in children.read_text().split()]
            except OSError:
                continue  # it has ended meanwhile
    return found


def resident_memory(pid: int) -> float:
    """Give the resident memory of a process in MiB; 0 if it has ended.

    Args:
        pid: The process.
    """
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_measured(
    command: Sequence[str], log: IO[bytes] | None = None, interval: float = 1.0
) -> tuple[int, list[MemorySample]]:
    """Run a command and look at its memory again and again.

    Args:
        command: The command and its arguments.
        log: What it says goes there; None for nowhere.
        interval: Seconds between two looks.

    Returns:
        Its exit status, and the samples.

    Raises:
        ValueError: If this system tells nothing about the memory of processes.
    """
    if not (_PROC / "self" / "statm").is_file():
        raise ValueError("The memory of processes is read from /proc, which only Linux has.")
    samples: list[MemorySample] = []
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=log or subprocess.DEVNULL, stderr=subprocess.STDOUT if log else None
    )
    try:
        while process.poll() is None:
            values = [resident_memory(pid) for pid in process_tree(process.pid)]
            if values and values[0]:
                now = time.monotonic() - start
                samples.append(MemorySample(now, values[0], sum(values), len(values)))
            try:
                process.wait(timeout=interval)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return process.returncode, samples


def growth(samples: Sequence[MemorySample], last: float) -> float:
    """Say by how much the memory grows at the end of a run, when it should have settled.

    Args:
        samples: What was seen.
        last: The seconds at the end that are looked at; of these, the times with as many processes
            as most of the time, since workers begin and end.

    Returns:
        Slope of the line through ``total`` (least squares) times the seconds it covers, in MiB; 0
        for fewer than three samples.
    """
    begin = samples[-1].seconds - last if samples else 0.0
    late = [s for s in samples if s.seconds >= begin]
    usual = Counter(s.processes for s in late).most_common(1)
    kept = [(s.seconds, s.total) for s in late if s.processes == usual[0][0]]
    if len(kept) < 3:
        return 0.0
    mean_x = sum(x for x, _ in kept) / len(kept)
    mean_y = sum(y for _, y in kept) / len(kept)
    spread = sum((x - mean_x) ** 2 for x, _ in kept)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in kept) / spread if spread else 0.0
    return slope * (kept[-1][0] - kept[0][0])


def memory_plot(runs: Mapping[str, Sequence[MemorySample]], title: str) -> bytes:
    """Draw what each run held over time: all processes, and the main one alone.

    Args:
        runs: Name of a run and its samples.
        title: Stands above the picture.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, samples) in enumerate(runs.items()):
        color = _COLORS[index % len(_COLORS)]
        minutes = [sample.seconds / 60 for sample in samples]
        axes.plot(minutes, [s.total / 1024 for s in samples], color=color, label=name)
        axes.plot(
            minutes,
            [s.main / 1024 for s in samples],
            "--",
            color=color,
            lw=1,
            label=f"{name}, main",
        )
    axes.set(title=title, xlabel="minutes", ylabel="GiB", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

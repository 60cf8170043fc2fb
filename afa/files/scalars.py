"""What a training has logged: lines of losses, and a line of figures for each validation."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from afa.files.whole_file import read_json_lines

Lines = dict[int, dict[str, Any]]


def read_scalars(work_dir: Path, logs: Iterable[str] | None = None) -> tuple[Lines, Lines]:
    """Read the lines of losses, and those of figures such as ``seg/mIoU``, by iteration.

    A resumed training has several files; of what one repeats of another, the last counts.

    Args:
        work_dir: folder of the training.
        logs: folders in it whose scalars count, in their order; None for all.

    Returns:
        Losses and figures; what was logged last comes last.

    Raises:
        ValueError: if a file is broken elsewhere than in its last line.
    """
    losses: Lines = {}
    figures: Lines = {}
    logs = sorted(path.name for path in work_dir.glob("*")) if logs is None else logs
    files = [work_dir / log / "vis_data/scalars.json" for log in logs]
    for line in itertools.chain.from_iterable(read_json_lines(f) for f in files if f.is_file()):
        lines = losses if "loss" in line else figures
        step = line.get("step", 0)
        lines.pop(step, None)
        lines[step] = line
    return losses, figures


def seconds_at(losses: Mapping[int, Mapping[str, Any]]) -> dict[int, float]:
    """Sum the time of all iterations up to each that was logged; 0 at the begin, in order."""
    timed = sorted(step for step, line in losses.items() if "time" in line)
    at = {0: 0.0}
    for before, step in itertools.pairwise([0, *timed]):
        at[step] = at[before] + losses[step]["time"] * (step - before)
    return at

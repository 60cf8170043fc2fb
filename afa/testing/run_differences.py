"""Compare what two runs have left, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afa.utils.checkpoint import load_state

# What a checkpoint holds beside the story of how it came about.
_PARTS = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
_NOT_COMPARED = ("time", "memory", "eta")


def run_differences(one: str | Path, other: str | Path) -> list[str]:
    """Name what differs between the last checkpoints and the logs of two runs.

    Times and memory are left out, and so is what a log says twice: of an iteration the last line
    counts.

    Args:
        one: Work dir of a run.
        other: Work dir of the other.

    Returns:
        One line for each difference.

    Raises:
        ValueError: If a run has left no checkpoint.
    """
    states = [load_state(_last(Path(folder))) for folder in (one, other)]
    found: list[str] = []
    for part in _PARTS:
        found += _differences(part, *(state.get(part) for state in states))  # type: ignore[attr-defined]
    found += _differences("history", *(_history(state) for state in states))
    found += _differences("log", *(read_log(folder) for folder in (one, other)))
    names = [sorted(path.name for path in Path(folder).glob("*.pth")) for folder in (one, other)]
    return found + list(_differences("checkpoints", *names))


def _last(work: Path) -> Path:
    found = [path for path in work.glob("iter_*.pth")]
    if not found:
        raise ValueError(f"There is no checkpoint in '{work}'.")
    return max(found, key=lambda path: int(path.stem.split("_")[1]))


def _compared(name: str) -> bool:
    return not any(word in name for word in _NOT_COMPARED)


def _history(state: Any) -> dict[str, Any]:
    """Return the figures that the run remembers, by name."""
    scalars = state["message_hub"]["log_scalars"]
    return {name: scalars[name].data[0] for name in scalars if _compared(name)}


def read_log(work: str | Path) -> dict[str, dict[str, Any]]:
    """Read the figures that a run, resumed or not, has logged.

    Args:
        work: Its work dir.

    Returns:
        Iteration (and kind) -> name -> figure; of lines for the same iteration the last one.
    """
    lines: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(work).glob("*/vis_data/scalars.json"), key=lambda p: p.parts[-3]):
        for text in path.read_text().splitlines():
            try:
                figures = json.loads(text)
            except ValueError:
                continue  # cut off by a kill
            kind = "train" if "loss" in figures else "val"
            kept = {name: value for name, value in figures.items() if _compared(name)}
            lines[f"{kind} {figures.get('step')}"] = kept
    return lines


def _differences(place: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}, key=str):
            if key in one and key in other:
                yield from _differences(f"{place}.{key}", one[key], other[key])
            else:
                yield f"{place}.{key} is missing in the {'second' if key in one else 'first'} run"
    elif isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(f"{place}[{index}]", *pair)
    elif not _same(one, other):
        yield f"{place} differs"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
    return type(one) is type(other) and (one == other or (one != one and other != other))

"""What a stage leaves on record: its state, its figures, its time and memory."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afa.files.whole_file import read_json, write_json

RECORD = "stage.json"
STATES = ("running", "stopped", "finished")


@dataclass
class Record:
    """The record of a stage, in ``stage.json`` in its folder.

    Args:
        fingerprint: of all that the result depends on.
        command: the command line, as it can be repeated by hand.
        state: ``'running'``, ``'stopped'`` or ``'finished'``.
        seconds: time it took, summed over stops.
        peak_memory_mib: peak memory of its largest process in MiB.
        figures: its figures in percent.
    """

    fingerprint: str
    command: list[str]
    state: str = "running"
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        write_json(folder / RECORD, asdict(self))


def read_record(folder: Path) -> Record | None:
    """Read the record of a stage; None where the stage has never begun.

    Raises:
        ValueError: if the file is not a record.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = Record(**read_json(path))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"'{path}' is not the record of a stage ({error}): remove the folder."
        ) from error
    if record.state not in STATES:
        raise ValueError(f"'{path}' has the unknown state '{record.state}': remove the folder.")
    return record


def read_figures(folder: Path) -> dict[str, float]:
    """Read the figures that a tool has left in its folder.

    Trainings leave them in the scalars of their last validation, the other tools in a JSON file
    with an entry ``figures``.

    Returns:
        Finite figures by name; empty if there are none.
    """
    found: dict[str, Any] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/test.json")]):
        content = _load(path) if path.name != RECORD else None
        if isinstance(content, dict) and isinstance(content.get("figures"), dict):
            found.update(content["figures"])
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        for scalars in read_scalars(path):
            if any("/" in name for name in scalars):  # a validation, not a line of losses
                found.update({name: v for name, v in scalars.items() if "/" in name})
    return {name: v for name, v in found.items() if isinstance(v, (int, float)) and not _bad(v)}


def read_scalars(path: Path) -> list[dict[str, Any]]:
    """Read the scalars that a training logs, one JSON object a line.

    A process that is killed leaves its last line half written: that one is left out.

    Raises:
        ValueError: if another line is broken.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            scalars = json.loads(line)
        except (ValueError, RecursionError):
            scalars = None
        if isinstance(scalars, dict):
            found.append(scalars)
        elif number < len(lines):
            raise ValueError(
                f"'{path}' is broken in line {number}: it holds the figures of a training; mend "
                "that line or take it out."
            )
    return found


def _bad(value: float) -> bool:
    return isinstance(value, bool) or not math.isfinite(value)


def _load(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None

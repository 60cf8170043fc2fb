"""One stage of a pipeline: a call of one of our tools, and what it leaves on record.

The call can be made by hand as well.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afa.engine.config.load import read_config_file
from afa.files.scalars import read_scalars
from afa.files.whole_file import read_json, read_json_object, write_json
from afa.utils.home import ROOT

# Where a tool puts what it makes, and whether it goes on from a stop only when it is told to.
OUT_OPTIONS = {"train.py": "--work-dir", "test.py": "--work-dir"}
RESUME_OPTIONS = {"train.py": ["--resume"]}
RECORD = "stage.json"
STATES = ("running", "stopped", "finished")
_PLACE = re.compile(r"\{([\w-]+)(\.checkpoint)?\}")


@dataclass(frozen=True)
class Stage:
    """A call of one of our tools.

    In ``checkpoint``, ``args`` and the values of ``options``, ``{name}`` stands for the folder of
    an earlier stage and ``{name.checkpoint}`` for its last checkpoint.

    Args:
        name: what the stage is called; its folder carries it.
        tool: file under tools/, e.g. ``'train.py'``.
        config: config of the tool, relative to the root of the repository; None for a tool
            without one.
        checkpoint: checkpoint that the tool reads, after the config.
        args: further arguments.
        options: dotted key to value, passed as ``--cfg-options``.

    Raises:
        ValueError: if the name cannot be a folder or the tool or the config does not exist.
    """

    name: str
    tool: str
    config: str | None = None
    checkpoint: str | None = None
    args: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and files."""
        if not re.fullmatch(r"\w[\w-]*", self.name):
            raise ValueError(
                f"The name of a stage has letters, digits, '_' and '-', got '{self.name}'."
            )
        if not (ROOT / "tools" / self.tool).is_file():
            raise ValueError(f"Stage '{self.name}': there is no tool 'tools/{self.tool}'.")
        if self.config is not None and not (ROOT / self.config).is_file():
            raise ValueError(f"Stage '{self.name}': there is no config file '{self.config}'.")

    def reads(self) -> list[str]:
        """Name the stages whose folders this one reads, in the order of their first mention."""
        texts = [self.checkpoint or "", *self.args, *map(str, self.options.values())]
        return list(dict.fromkeys(name for text in texts for name, _ in _PLACE.findall(text)))

    def command(self, out: Path, folders: Mapping[str, Path], resume: bool = False) -> list[str]:
        """Give the command line.

        Args:
            out: folder of this stage.
            folders: folders of the earlier stages by name.
            resume: go on in a folder that holds a part already.

        Returns:
            What to run, the interpreter first.

        Raises:
            ValueError: if an earlier stage has left no checkpoint.
        """
        parts = [sys.executable, str(ROOT / "tools" / self.tool)]
        if self.config is not None:
            parts.append(str(ROOT / self.config))
        if self.checkpoint is not None:
            parts.append(_fill(self.checkpoint, folders))
        parts += [_fill(text, folders) for text in self.args]
        parts += [OUT_OPTIONS.get(self.tool, "--out"), str(out)]
        if resume:
            parts += RESUME_OPTIONS.get(self.tool, [])
        if self.options:
            values = {key: _fill(str(value), folders) for key, value in self.options.items()}
            parts += ["--cfg-options", *(f"{key}={value}" for key, value in values.items())]
        return parts

    def fingerprint(self, earlier: Mapping[str, str]) -> str:
        """Summarise all that this stage's result depends on.

        Args:
            earlier: fingerprints of the stages it reads, by name.

        Returns:
            A digest: of tool, arguments, options, the whole config, and the stages it reads.
        """
        config = None if self.config is None else read_config_file(ROOT / self.config).to_dict()
        parts = [self.tool, self.config, self.checkpoint, list(self.args), dict(self.options)]
        parts += [config, {name: earlier[name] for name in self.reads()}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _fill(text: str, folders: Mapping[str, Path]) -> str:
    """Put folders and checkpoints in their places."""

    def place(match: re.Match) -> str:
        folder = folders[match.group(1)]
        return str(last_checkpoint(folder) if match.group(2) else folder)

    return _PLACE.sub(place, text)


def last_checkpoint(folder: Path) -> Path:
    """Find the last checkpoint that a training has left.

    Raises:
        ValueError: if there is none.
    """
    note = folder / "last_checkpoint"
    path = Path(note.read_text().strip()) if note.is_file() else None
    if path is not None and not path.is_file():
        path = folder / path.name  # the work folder has been moved
    if path is None or not path.is_file():
        raise ValueError(f"There is no checkpoint in '{folder}': run the stage that trains it.")
    return path


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
        figures = read_json_object(path).get("figures")
        if path.name != RECORD and isinstance(figures, dict):
            found.update(figures)
    for line in read_scalars(folder)[1].values():
        found.update({name: v for name, v in line.items() if "/" in name})
    return {name: v for name, v in found.items() if type(v) in (int, float) and math.isfinite(v)}

"""Faults of data: raised at once, or gathered to be told together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ReportFault(Protocol):
    """What a reading function calls when it meets a fault; it goes on where this returns."""

    def __call__(self, kind: str, sentence: str, files: Sequence[str] = ()) -> None:
        """Take a fault.

        Args:
            kind: A few words that faults of this kind share, such as "missing photo".
            sentence: What is wrong and what to do.
            files: Where the sentence sums up, all files that it is about.
        """


def raise_fault(kind: str, sentence: str, files: Sequence[str] = ()) -> None:
    """Raise the fault: what everything does that wants to work with the data.

    Raises:
        ValueError: Always.
    """
    raise ValueError(sentence)


class Faults:
    """Gather faults by kind, each once; called as :class:`ReportFault` says."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, None]] = {}

    def __call__(self, kind: str, sentence: str, files: Sequence[str] = ()) -> None:
        """Keep a fault: one line, or one for each of the files."""
        lines = self._found.setdefault(kind, {})
        lines.update(dict.fromkeys(files or [" ".join(sentence.split())]))

    @property
    def found(self) -> dict[str, list[str]]:
        """The faults by kind, in the order in which they came."""
        return {kind: list(lines) for kind, lines in self._found.items()}

    @property
    def count(self) -> int:
        """How many there are, of all kinds."""
        return sum(len(lines) for lines in self._found.values())

    def lines(self, limit: int) -> list[str]:
        """List the faults, ``kind: fault``, at most ``limit`` of each kind and how many more."""
        listed = []
        for kind, lines in self.found.items():
            listed += [f"{kind}: {line}" for line in lines[:limit]]
            if len(lines) > limit:
                listed.append(f"{kind}: ... and {len(lines) - limit:,} more")
        return listed

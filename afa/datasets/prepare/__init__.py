"""From the files as they are published to the layout that the data sets read."""

from __future__ import annotations

from collections.abc import Sequence

MAX_FAULTS = 100  # so many, and it is the wrong folder: the rest need not be looked at


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row of a table: its first column to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]

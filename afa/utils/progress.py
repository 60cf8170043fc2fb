"""A line of progress with speed and time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_INTERVAL = (0.2, 15.0)  # seconds between two lines on a terminal, and in a log file


class Progress:
    """Print how far a long command is, how fast, and how long it will still take.

    On a terminal the line overwrites itself; in a file a new line comes now and then.

    Args:
        total: How many there are; 0 where :meth:`show` says it.
        unit: What they are, in the plural.
        active: False for a process that shall be silent.
        stream: Where to print; None for stdout.
    """

    def __init__(
        self,
        total: int = 0,
        unit: str = "images",
        active: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        self.total = total
        self.unit = unit
        self.active = active
        self.stream = stream or sys.stdout
        self.done = 0
        self._start = time.monotonic()
        self._last = self._start
        self._terminal = self.stream.isatty()

    @property
    def speed(self) -> float:
        """Units per second since the beginning."""
        return self.done / max(1e-9, time.monotonic() - self._start)

    def step(self, count: int = 1) -> None:
        """Count what is done, and print when it is time or all is done."""
        self.done += count
        now = time.monotonic()
        due = now - self._last >= _INTERVAL[0 if self._terminal else 1]
        if self.active and (due or self.done >= self.total):
            self._last = now
            self._print()

    def show(self, done: int, total: int) -> None:
        """Say how many of how many are done: what a long function is given to call."""
        self.total = total
        self.step(done - self.done)

    def _print(self) -> None:
        text = f"{self.done}/{self.total} {self.unit}, {self.speed:.2f}/s"
        if self.done < self.total:
            left = (self.total - self.done) / max(1e-9, self.speed)
            text += f", {time_text(left)} left"
        text = f"\r{text:<70}" if self._terminal else text
        ends = not self._terminal or self.done >= self.total
        print(text, end="\n" if ends else "", file=self.stream, flush=True)


def time_text(seconds: float) -> str:
    """Write a duration as people say it: '45 s', '2 min 10 s', '3 h 5 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"

"""Draw the memory of runs over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from afa.utils.process_memory import MemorySample

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555")  # Okabe and Ito


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

"""Draw how the cost of a training step grows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NAMES = dict(
    crop="crop in pixels", num_classes="classes", batch="batch", processes="processes, same batch"
)


def scaling_plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the seconds of a step and of PAR over everything that was varied.

    Args:
        rows: ``name``, ``value``, ``step`` and, where it was measured, ``par`` in seconds.

    Returns:
        A PNG, one picture beside the other.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = Figure(figsize=(3.4 * len(names), 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        some = [row for row in rows if row["name"] == name]
        values = [row["value"] for row in some]
        axes.plot(values, [row["step"] for row in some], "o-", color="#0072b2", label="step")
        if all("par" in row for row in some):
            axes.plot(values, [row["par"] for row in some], "s--", color="#d55e00", label="PAR")
        axes.set_xlabel(NAMES.get(name, name))
        axes.set_xticks(values)
        axes.set_ylim(0, 1.1 * max(row["step"] for row in some))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

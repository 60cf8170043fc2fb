"""Curves and bars as PNG: the sweep over the background score, and runs side by side."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

# Distinct for the colour-blind too (Okabe and Ito), and by their line style.
_LINES = (
    ("mIoU", "mIoU", "#0072b2", "-"),
    ("IoU.background", "IoU of the background", "#555555", ":"),
    ("precision", "mean precision, foreground", "#d55e00", "--"),
    ("recall", "mean recall, foreground", "#009e73", "-."),
)
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555", "#56b4e9", "#e69f00")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_FEW_POINTS, _LONG_NAME = 40, 24
_LETTER, _LEGEND_LINE = 0.085, 0.2  # inches: width of a letter and height of a line in legends


def sweep_plot(
    rows: Sequence[Mapping[str, float]],
    title: str,
    used: Sequence[float] = (),
    score_name: str = "background score",
) -> bytes:
    """Draw mIoU, precision and recall over the background score.

    Args:
        rows: what :func:`afa.evaluation.threshold_sweep.sweep_rows` gives.
        title: stands above the picture.
        used: background scores that the written labels were made with.
        score_name: what the scores are.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(7.2, 4.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    scores = [row["bkg_thr"] for row in rows]
    for key, name, color, style in _LINES:
        if key in rows[0]:
            width = 2.4 if key == "mIoU" else 1.3
            axes.plot(scores, [row[key] for row in rows], style, color=color, lw=width, label=name)
    known = [row for row in rows if row["mIoU"] == row["mIoU"]]
    if known:
        best = max(known, key=lambda row: row["mIoU"])
        side = _side(best["bkg_thr"], scores)
        axes.plot(best["bkg_thr"], best["mIoU"], "o", color="#0072b2", ms=7)
        axes.annotate(
            f"best: {best['mIoU']:.1f} at {best['bkg_thr']:g}",
            (best["bkg_thr"], best["mIoU"]),
            xytext=(dict(left=8, right=-8).get(side, 0), 14 if best["mIoU"] < 15 else -20),
            textcoords="offset points",
            ha=side,
            color="#0072b2",
            bbox=dict(boxstyle="round,pad=0.2", fc="white", ec="none", alpha=0.8),
        )
    for i, score in enumerate(used):
        axes.axvline(score, color="#999999", lw=1, label=None if i else "labels written")
    axes.set(title=title, xlabel=score_name, ylabel="percent", ylim=(0, 104))
    axes.set_xlim(min(scores), max(scores)) if len(scores) > 1 else None
    axes.grid(alpha=0.3)
    return _png(figure)


def _side(score: float, scores: Sequence[float]) -> str:
    """Choose the side of a text that stands at its score, so that all of it is in the plot."""
    share = (score - min(scores)) / (max(scores) - min(scores) or 1)
    return "left" if share < 0.2 and len(scores) > 1 else "right" if share > 0.8 else "center"


def curves_plot(
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    xlabel: str,
    ylabel: str,
    parts: Mapping[str, float] | None = None,
) -> bytes:
    """Draw named curves of points (x, y), 0 or more; those without points are left out.

    Both axes begin at 0, so that small differences look small.

    Args:
        curves: name and points of each; few points are marked.
        xlabel: what x is.
        ylabel: what y is.
        parts: names of parts of the x axis and where each begins.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=_COLORS, linestyle=_STYLES)
    for name, points in curves:
        marker = "o" if len(points) <= _FEW_POINTS else None
        axes.plot(*zip(*points, strict=True), marker=marker, label=name) if points else None
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if axes.lines:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    begun = {name: begin for name, begin in (parts or {}).items() if begin < axes.get_xlim()[1]}
    for name, begin in begun.items():
        axes.axvline(begin, color="#999999", lw=0.8)
        place = (begin, 1.0)
        axes.text(*place, f" {name}", transform=axes.get_xaxis_transform(), va="bottom", fontsize=9)
    return _png(figure)


def matrix_plot(shares: np.ndarray, names: Sequence[str], xlabel: str, ylabel: str) -> bytes:
    """Draw a matrix of shares in percent, (C, C), with its values where there is room.

    Returns:
        A PNG.
    """
    names = [_short(name) for name in names]
    size = 0.42 * len(names) + _LETTER * max(map(len, names)) + 1.2
    figure = Figure(figsize=(size, size), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(shares):
        if value >= 1:
            color = "white" if value < 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, size=8)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return _png(figure)


def bars_plot(groups: Sequence[tuple[str, Mapping[str, float]]], ylabel: str) -> bytes:
    """Draw the values of some things side by side, such as the IoU of each class in each run.

    Args:
        groups: name and values by place on the x axis; a value that one lacks is 0.
        ylabel: what the values are.

    Returns:
        A PNG.
    """
    names = list(dict.fromkeys(name for _, values in groups for name in values))
    figure = Figure(figsize=(max(6, 0.35 * len(names) + 3), 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=_COLORS)
    width = 0.8 / len(groups)
    for number, (label, values) in enumerate(groups):
        places = [index + number * width for index in range(len(names))]
        axes.bar(places, [values.get(name, 0) for name in names], width, label=label)
    axes.set_xticks([index + 0.4 - width / 2 for index in range(len(names))])
    axes.set_xticklabels([_short(name) for name in names])
    axes.tick_params(axis="x", rotation=60)
    for text in axes.get_xticklabels():
        text.set(ha="right", rotation_mode="anchor")
    axes.set_ylabel(ylabel)
    return _png(figure)


def _short(name: str) -> str:
    """Leave so much of a long name that its plot keeps most of the room."""
    return name if len(name) <= _LONG_NAME else f"{name[: _LONG_NAME - 1]}…"


def _png(figure: Figure) -> bytes:
    """Put the legend beneath the plot, which grows by its lines, and draw."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    if handles:
        letters = int(figure.get_figwidth() / _LETTER)
        names = [textwrap.fill(name, letters - 5) for name in names]
        columns = max(1, min(3, letters // (max(map(len, names)) + 5)))
        lines = sum(1 + name.count("\n") for name in names) / columns
        figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * (lines + 1))
        figure.legend(
            handles, names, loc="outside lower center", ncols=columns, fontsize=9, frameon=False
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

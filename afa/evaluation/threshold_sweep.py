"""How good label maps are at each background score.

T background scores, C classes with the background.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from afa.evaluation.figures import label_figures

MAX_SCORES = 1000


def sweep_scores(low: float, high: float, step: float) -> list[float]:
    """List the scores from ``low`` to ``high``, both included, rounded to six digits.

    Raises:
        ValueError: If there is no score in the range, or far too many.
    """
    if not (0 <= low <= high and step > 0) or (high - low) / step >= MAX_SCORES:
        raise ValueError(
            f"A sweep needs 0 <= LOW <= HIGH and a STEP above 0 with at most {MAX_SCORES} scores, "
            f"got {low}, {high} and {step}: use e.g. 0.05 0.95 0.05."
        )
    count = int((high - low) / step + 1e-6) + 1
    return [round(low + i * step, 6) for i in range(count)]


def sweep_rows(
    counts: Tensor,
    scores: Sequence[float],
    classes: Sequence[str],
    mean_over: Collection[str] | None = None,
) -> list[dict[str, float]]:
    """Give the figures at each score.

    Args:
        counts: (T, C, C + 1), summed over the set.
        scores: T background scores.
        classes: C names.
        mean_over: Names of the classes that enter mIoU; None for all.

    Returns:
        One dict per score: ``bkg_thr``, ``mIoU``, the means of ``precision`` and ``recall`` over
        the foreground (over-activation lowers the first, under-activation the second), and
        ``IoU.<class>``.
    """
    rows = []
    for score, matrix in zip(scores, counts, strict=True):
        figures = label_figures(matrix, classes, mean_over)
        row = {"bkg_thr": score, "mIoU": figures["mIoU"]}
        names = [name for name in classes[1:] if mean_over is None or name in mean_over]
        for column in ("precision", "recall"):
            values = [figures[f"{column}.{name}"] for name in names]
            known = [value for value in values if not math.isnan(value)]
            row[column] = round(sum(known) / len(known), 2) if known else float("nan")
        row.update({key: value for key, value in figures.items() if key.startswith("IoU.")})
        rows.append(row)
    return rows


def best_edge(rows: Sequence[Mapping[str, Any]]) -> int:
    """Tell whether the best row lies at an edge: -1 for the low, 1 for the high one, 0 for none.

    Fewer than three rows, and equal ones, have no edge.
    """
    values = [-1.0 if math.isnan(row["mIoU"]) else row["mIoU"] for row in rows]
    if len(values) < 3:
        return 0
    if values[0] > max(values[1:]):
        return -1
    return int(values[-1] > max(values[:-1]))


def best_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row with the highest mIoU, the first of equal ones."""
    return max(rows, key=lambda row: -1.0 if math.isnan(row["mIoU"]) else row["mIoU"])

"""Figures of a set of label maps that may have undecided pixels, and their table.

C classes with the background. Undecided (255) are pixels between two background scores.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from prettytable import PrettyTable
from torch import Tensor

from afa.evaluation.confusion import areas

_COLUMNS = ("IoU", "precision", "recall")


def label_figures(
    confusion: Tensor, classes: Sequence[str], mean_over: Collection[str] | None = None
) -> dict[str, float]:
    """Compute IoU, precision and recall of each class, mIoU, and what undecided pixels change.

    An undecided pixel belongs to its true class and to no labelled one: it lowers the IoU of its
    class as a wrong one does, but of no other.

    Args:
        confusion: (C, C + 1) of :func:`confusion_matrix`, summed over the set; the last column
            counts undecided pixels.
        classes: C names.
        mean_over: Names of the classes that enter mIoU; None for all.

    Returns:
        Percentages: ``mIoU``, ``aAcc`` (right pixels), ``undecided`` (share of the pixels with a
        truth), where there are undecided pixels ``mIoU.decided`` without them, and for each class
        ``IoU.<class>``, ``precision.<class>`` and ``recall.<class>``. NaN where nothing is divided
        by nothing.
    """
    in_mean = torch.tensor([mean_over is None or name in mean_over for name in classes])
    hits, union, labelled, true = areas(confusion)
    figures = {
        "mIoU": (hits / union)[in_mean].nanmean(),
        "aAcc": hits.sum() / true.sum(),
        "undecided": confusion[:, -1].sum() / true.sum(),
    }
    if confusion[:, -1].any():
        decided = confusion.clone()
        decided[:, -1] = 0
        decided_hits, decided_union, _, _ = areas(decided)
        figures["mIoU.decided"] = (decided_hits / decided_union)[in_mean].nanmean()
    for column, values in zip(_COLUMNS, (hits / union, hits / labelled, hits / true), strict=True):
        figures.update({f"{column}.{name}": v for name, v in zip(classes, values, strict=True)})
    return {name: round(100 * float(value), 2) for name, value in figures.items()}


def label_table(figures: Mapping[str, float], classes: Sequence[str]) -> str:
    """Lay the figures of the classes out as a table with one row per class."""
    table = PrettyTable(["class", *_COLUMNS])
    table.align = "r"
    table.align["class"] = "l"
    for name in classes:
        values = (figures[f"{column}.{name}"] for column in _COLUMNS)
        table.add_row([name, *("-" if value != value else f"{value:.2f}" for value in values)])
    return table.get_string()

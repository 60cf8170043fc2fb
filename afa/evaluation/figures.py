"""Figures of label maps that may have undecided pixels, from one confusion matrix over a set.

C classes with the background, H W pixels. Undecided (255) are pixels between two background scores.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from prettytable import PrettyTable
from torch import Tensor

CHUNK = 2**24  # pixels counted at a time: int64 indices of a huge photo would fill the memory
_COLUMNS = ("IoU", "precision", "recall")


def confusion_matrix(
    pred: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Count how often each class was predicted where each class is true.

    Counts are integers: mmseg's float32 histograms cannot count beyond 2^24 pixels.

    Args:
        pred: (H, W) integers; values outside of the classes are wrong wherever they stand.
        label: (H, W) integers 0..C-1 or ``ignore_index``.
        num_classes: C.
        ignore_index: label of pixels that are not counted.

    Returns:
        (C, C + 1) int64 on CPU: rows are labels, columns predictions; the last column counts
        predictions outside of the classes.

    Raises:
        ValueError: If the sizes differ, or a label is neither a class nor ``ignore_index``.
    """
    if pred.shape != label.shape:
        raise ValueError(
            f"prediction {tuple(pred.shape)} and mask {tuple(label.shape)} differ in size"
        )
    shape = (num_classes, num_classes + 1)
    total = torch.zeros(shape, dtype=torch.int64)
    for p, t in zip(pred.flatten().split(CHUNK), label.flatten().split(CHUNK), strict=True):
        t = t.to(p.device)
        counted = t != ignore_index
        p, t = p[counted].long(), t[counted].long()
        if t.numel() == 0:
            continue
        low, high = int(t.min()), int(t.max())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"the mask has the value {low if low < 0 else high}, but labels are "
                f"0..{num_classes - 1} and {ignore_index}"
            )
        p = p.where((p >= 0) & (p < num_classes), num_classes)
        counts = torch.bincount(t * (num_classes + 1) + p, minlength=shape[0] * shape[1])
        total += counts.view(shape).cpu()
    return total


def areas(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give what mmseg's IoUMetric computes its figures from.

    Args:
        confusion: (C, C + 1) of :func:`confusion_matrix`.

    Returns:
        Intersection, union, predicted and true area of each class, (C,) float64 each.
    """
    counts = confusion.double()
    intersect = counts.diagonal()
    predicted, true = counts[:, :-1].sum(0), counts.sum(1)
    return intersect, predicted + true - intersect, predicted, true


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

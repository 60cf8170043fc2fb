"""Confusion matrix of label maps. C classes, H W pixels."""

import torch
from torch import Tensor

CHUNK = 2**24  # pixels counted at a time: int64 indices of a huge photo would fill the memory


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

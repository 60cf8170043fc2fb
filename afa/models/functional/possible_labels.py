"""Which labels an image can have: what follows need not compute others. C classes, h w pixels."""

import torch
from torch import Tensor


def possible_labels(logits: Tensor, thr: float) -> Tensor:
    """List the labels that a segmentation does not rule out.

    Args:
        logits: (C, h, w).
        thr: probability that a label reaches somewhere; 0 keeps all labels.

    Returns:
        (L,) int64 in ascending order: the background, every label that is the best of some pixel,
        and every label whose probability reaches ``thr`` at some pixel.
    """
    keep = logits.softmax(dim=0).amax(dim=(1, 2)) >= thr
    keep[logits.max(dim=0).indices.unique()] = True
    keep[0] = True
    return torch.nonzero(keep)[:, 0]

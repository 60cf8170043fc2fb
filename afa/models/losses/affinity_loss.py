"""Affinity losses of AFA and of AffinityNet.

B images, N tokens, P offsets, h w token grid. All means are over the batches of all processes
together, and a kind of pair that does not occur contributes 0.
"""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.functional import global_mean
from afa.models.functional.pair_affinity import PAIR_BACKGROUND, PAIR_FOREGROUND, PAIR_NEGATIVE


def affinity_loss(affinity: Tensor, aff_label: Tensor) -> Tensor:
    """Pull positive pairs to affinity 1 and negative pairs to 0.

    Ru et al., CVPR 2022, equation 5: 1/2 mean over positive pairs (1 - a) + 1/2 mean over negative
    pairs a: linear in the affinity, not a logarithm. As in their program, both counts are one too
    high.

    Args:
        affinity: (B, N, N) in 0..1.
        aff_label: (B, N, N) int64: 1 positive, 0 negative, anything else ignored.

    Returns:
        Scalar in 0..1.
    """
    loss_pos = global_mean(1 - affinity, aff_label == 1, extra=1)
    loss_neg = global_mean(affinity, aff_label == 0, extra=1)
    return 0.5 * (loss_pos + loss_neg)


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Module form of :func:`affinity_loss` with a weight.

    Args:
        loss_weight: factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, affinity: Tensor, aff_label: Tensor) -> Tensor:
        """Give the weighted loss of affinity (B, N, N) and labels (B, N, N)."""
        return self.loss_weight * affinity_loss(affinity, aff_label)


def pair_affinity_loss(distances: Tensor, label: Tensor, eps: float = 1e-5) -> Tensor:
    """Pull pairs of equal label together and pairs of different label apart.

    Ahn and Kwak, CVPR 2018: 1/4 mean over background pairs of -log W + 1/4 mean over foreground
    pairs of -log W + 1/2 mean over negative pairs of -log(1 - W), W = exp(-distance).

    Different in form: it starts from the distances. -log W is the distance itself, so that pairs
    whose affinity is 0 in float32 (a sum over hundreds of channels gets there at once) still learn.

    Args:
        distances: (B, P, h, w), 0 or more, see :func:`pair_distances`.
        label: (B, P, h, w) int64 as :func:`pair_label` gives it; anything but its three kinds is
            ignored.
        eps: added to 1 - W, so that a negative pair of equal features has a finite loss.

    Returns:
        Scalar, 0 or more up to ``eps``.
    """
    push = -torch.log(eps - torch.expm1(-distances))
    loss_bkg = global_mean(distances, label == PAIR_BACKGROUND)
    loss_fg = global_mean(distances, label == PAIR_FOREGROUND)
    loss_neg = global_mean(push, label == PAIR_NEGATIVE)
    return 0.25 * loss_bkg + 0.25 * loss_fg + 0.5 * loss_neg


@MODELS.register_module()
class PairAffinityLoss(nn.Module):
    """Module form of :func:`pair_affinity_loss` with a weight.

    Args:
        loss_weight: factor of the loss.
        eps: see :func:`pair_affinity_loss`.

    Raises:
        ValueError: if ``eps`` is not above 0.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__()
        if eps <= 0:
            raise ValueError(f"PairAffinityLoss: eps must be above 0, got {eps}")
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, distances: Tensor, label: Tensor) -> Tensor:
        """Give the weighted loss of distances (B, P, h, w) and labels (B, P, h, w)."""
        return self.loss_weight * pair_affinity_loss(distances, label, self.eps)

"""Affinity loss of AFA (Ru et al., CVPR 2022, equation 5).

B images, N tokens. L = 1/2 mean over positive pairs (1 - a) + 1/2 mean over negative pairs a:
linear in the affinity, not a logarithm. As in the AFA program, both counts are one too high.
"""

from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.functional import global_mean


def affinity_loss(affinity: Tensor, aff_label: Tensor) -> Tensor:
    """Pull positive pairs to affinity 1 and negative pairs to 0.

    Args:
        affinity: (B, N, N) in 0..1.
        aff_label: (B, N, N) int64: 1 positive, 0 negative, anything else ignored.

    Returns:
        Scalar in 0..1; a kind of pair that does not occur contributes 0. The means are over the
        batches of all processes together.
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

"""Cross-entropy with background and foreground averaged apart.

The segmentation loss of AFA (Ru et al., CVPR 2022). B images, C classes with background, H W
pixels.
"""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.functional import global_mean


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """Mean of two cross-entropies, one over background pixels, one over foreground pixels.

    A batch without any pixel of one kind gets 0 for that kind, not NaN. The means are over the
    batches of all processes together.

    Args:
        loss_weight: factor of the loss.
        loss_name: key of the loss in mmseg heads.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_ce") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: (B, C, H, W) logits.
            label: (B, H, W) int64, 0 background, ``ignore_index`` ignored.
            weight: (B, H, W) factor of each pixel, as mmseg heads with a sampler give it.
            ignore_index: ignored label.

        Returns:
            Scalar.
        """
        loss = F.cross_entropy(
            cls_score.float(), label, ignore_index=ignore_index, reduction="none"
        )
        if weight is not None:
            loss = loss * weight
        loss_bkg = global_mean(loss, label == 0)
        loss_fg = global_mean(loss, (label != 0) & (label != ignore_index))
        return self.loss_weight * 0.5 * (loss_bkg + loss_fg)

"""Affinity from attention (AFA).

Ru et al., CVPR 2022, equation 4: A = sigmoid(MLP(S + S^T)) with S the attention of all heads.
B images, A attention maps, N tokens.
"""

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AttentionAffinityHead(BaseModule):
    """Predict the affinity of every pair of tokens from attention logits.

    Args:
        in_channels: number A of attention maps (heads times blocks).
        loss_aff: config of the affinity loss.
        init_cfg: mmengine initialisation; Kaiming by default.
    """

    def __init__(
        self,
        in_channels: int,
        loss_aff: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type="Kaiming", layer="Conv2d", a=1, mode="fan_in"))
        self.proj = nn.Conv2d(in_channels, 1, 1, bias=True)
        self.loss_aff = MODELS.build(loss_aff or dict(type="AffinityLoss"))

    def forward(self, attn: Tensor) -> Tensor:
        """Give the affinity of token pairs.

        Args:
            attn: (B, A, N, N) unscaled attention logits; not detached, its loss teaches them.

        Returns:
            (B, N, N) symmetric float32 in (0, 1), also under autocast.
        """
        # The 1x1 convolution is linear: projecting first and adding the transpose after is the
        # same as projecting S + S^T, and moves A times less memory.
        with torch.autocast(attn.device.type, enabled=False):
            weight = self.proj.weight.float().flatten()
            logits = torch.einsum("banm,a->bnm", attn.float(), weight)
            return (logits + logits.transpose(1, 2) + self.proj.bias.float()).sigmoid()

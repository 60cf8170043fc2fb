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
        init_cfg: mmengine initialisation; None for that of the AFA program: weights Kaiming normal
            (a = sqrt(5), fan out), torch's own bias.
    """

    def __init__(
        self,
        in_channels: int,
        loss_aff: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.proj = nn.Conv2d(in_channels, 1, 1, bias=True)
        nn.init.kaiming_normal_(self.proj.weight, a=5**0.5, mode="fan_out")
        self.loss_aff = MODELS.build(loss_aff or dict(type="AffinityLoss"))

    def forward(self, attn: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Give the affinity of token pairs.

        Args:
            attn: (B, A, N, N) unscaled attention logits, or queries and keys (B, A, N, d) that
                they are made of; not detached, the loss teaches them.

        Returns:
            (B, N, N) symmetric float32 in (0, 1), also under autocast.
        """
        # The 1x1 convolution is linear: projecting first and adding the transpose after is the
        # same as projecting S + S^T, and moves A times less memory.
        device = attn.device if isinstance(attn, Tensor) else attn[0].device
        with torch.autocast(device.type, enabled=False):
            weight = self.proj.weight.float().flatten()
            if isinstance(attn, Tensor):
                logits = torch.einsum("banm,a->bnm", attn.float(), weight)
            else:
                logits = weighted_logits(attn[0], attn[1], weight)
            return (logits + logits.transpose(1, 2) + self.proj.bias.float()).sigmoid()


def weighted_logits(q: Tensor, k: Tensor, weight: Tensor) -> Tensor:
    """Sum the logits of all heads with a weight each, without making those of any head.

    sum_a w_a q_a k_a^T is one product of the heads side by side, [w_1 q_1 .. w_A q_A] and
    [k_1 .. k_A]^T: A times less memory, and no (B, A, N, N) to go back through.

    Args:
        q: queries (B, A, N, d).
        k: keys (B, A, N, d).
        weight: (A,).

    Returns:
        (B, N, N) float32.
    """
    q = q.float() * weight.view(-1, 1, 1)
    q, k = (heads.transpose(1, 2).flatten(2) for heads in (q, k.float()))  # (B, N, A * d)
    return q @ k.transpose(1, 2)

"""Heads that predict the affinity of tokens: from attention (AFA) or from features (AffinityNet).

B images, A attention maps, N tokens, h w token grid, P offsets.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.functional.cam import resize_maps
from afa.models.functional.pair_affinity import (
    DISTANCES,
    pair_affinity,
    pair_distances,
    pair_offsets,
)


@MODELS.register_module()
class AttentionAffinityHead(BaseModule):
    """Predict the affinity of every pair of tokens from attention logits.

    Ru et al., CVPR 2022, equation 4: A = sigmoid(MLP(S + S^T)) with S the attention of all heads.

    Args:
        in_channels: number A of attention maps (heads times blocks).
        loss_aff: config of the affinity loss.
        init_cfg: mmengine initialisation; None for that of the AFA program: weights Kaiming normal
            (a = sqrt(5), fan out), torch's own bias.
    """

    def __init__(
        self, in_channels: int, loss_aff: dict | None = None, init_cfg: dict | None = None
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
                # sum_a w_a q_a k_a^T is one product of the heads side by side, (B, N, A * d):
                # A times less memory, and no (B, A, N, N) to go back through.
                q, k = attn[0].float() * weight.view(-1, 1, 1), attn[1].float()
                q, k = (heads.transpose(1, 2).flatten(2) for heads in (q, k))
                logits = q @ k.transpose(1, 2)
            return (logits + logits.transpose(1, 2) + self.proj.bias.float()).sigmoid()


@MODELS.register_module()
class FeatureAffinityHead(BaseModule):
    """Predict the affinity of neighbouring tokens from several feature maps.

    Ahn and Kwak, CVPR 2018: W_ij = exp(-||f_i - f_j||_1). Each level goes through a 1x1
    convolution, their concatenation through another. Paper and program differ: 128, 256 and 512
    channels for the three levels and the sum of the differences in the paper; 64, 128 and 256 and
    their mean over the channels in the program.

    Args:
        in_channels: channels of the levels that are used.
        channels: channels of each level after its convolution; the last convolution has their sum.
        in_index: which levels of the backbone, of the same length; the grid is that of the first,
            the others are resized to it.
        radius: pairs are closer than this, in tokens; 5 gives P = 34 offsets.
        distance: ``'mean'`` (the program) or ``'sum'`` (the paper) of the absolute differences over
            the channels. The mean does not depend on the number of channels; the sum of hundreds
            makes nearly every affinity 0 at the start.
        act: activation behind each convolution, by its name in mmcv; None for none. Without one the
            two layers would be no more than a single one.
        loss_aff: config of the loss, by default :class:`PairAffinityLoss`.
        init_cfg: mmengine initialisation; Kaiming by default.

    Raises:
        ValueError: if the lists differ in length or an argument is outside its range.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int] = (64, 128, 256),
        in_index: Sequence[int] = (0, 1, 2),
        radius: int = 5,
        distance: str = "mean",
        act: str | None = "ELU",
        loss_aff: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type="Kaiming", layer="Conv2d", a=1, mode="fan_in"))
        if not len(in_channels) == len(channels) == len(in_index) > 0:
            raise ValueError(
                "FeatureAffinityHead: in_channels, channels and in_index must name the same "
                f"levels, got {list(in_channels)}, {list(channels)} and {list(in_index)}"
            )
        if distance not in DISTANCES:
            raise ValueError(
                f"FeatureAffinityHead: distance must be one of {DISTANCES}, got {distance!r}"
            )
        if radius < 2:
            raise ValueError(
                "FeatureAffinityHead: radius must be 2 tokens or more (5 in the paper), "
                f"got {radius}"
            )
        self.in_index = tuple(in_index)
        self.distance = distance
        self.offsets = pair_offsets(radius)
        self.projs = nn.ModuleList(
            nn.Conv2d(wide, narrow, 1, bias=False)
            for wide, narrow in zip(in_channels, channels, strict=True)
        )
        self.fuse = nn.Conv2d(sum(channels), sum(channels), 1, bias=False)
        self.act = nn.Identity() if act is None else build_activation_layer(dict(type=act))
        self.loss_aff = MODELS.build(loss_aff or dict(type="PairAffinityLoss"))

    def embed(self, feats: Sequence[Tensor]) -> Tensor:
        """Give the features whose differences are measured.

        Args:
            feats: all levels of the backbone, each (B, C_i, h_i, w_i).

        Returns:
            (B, sum of channels, h, w) at the grid of the first level used.

        Raises:
            ValueError: if the backbone has fewer levels than ``in_index`` asks for.
        """
        if max(self.in_index) >= len(feats):
            raise ValueError(
                f"FeatureAffinityHead: in_index {list(self.in_index)} asks for level "
                f"{max(self.in_index)}, but the backbone gives {len(feats)} levels: set its "
                "out_indices"
            )
        grid = feats[self.in_index[0]].shape[2:]
        levels = [
            resize_maps(self.act(proj(feats[index])), grid)
            for index, proj in zip(self.in_index, self.projs, strict=True)
        ]
        return self.act(self.fuse(torch.cat(levels, dim=1)))

    def distances(self, feats: Sequence[Tensor]) -> Tensor:
        """Give the distances (B, P, h, w) of the pairs, 0 where a pair leaves the grid."""
        return pair_distances(self.embed(feats), self.offsets, self.distance)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Give the affinity of pairs.

        Args:
            feats: all levels of the backbone, each (B, C_i, h_i, w_i).

        Returns:
            (B, P, h, w) float32 in 0..1; 0 where a pair leaves the grid.
        """
        return pair_affinity(self.distances(feats), self.offsets)

"""Pixel-adaptive refinement (PAR).

AFA (Ru et al., CVPR 2022), section 3.3 and equations 8-10, after pixel-adaptive convolution
(Su et al., CVPR 2019). B images, M masks, H W pixels, 8 neighbours at D dilations.

    k_c = -mean_rgb (|I_p - I_q| / (sigma_c + 1e-8) / w1)^2
    k_p = -(|p - q| / (sigma_p + 1e-8) / w1)^2
    weights = softmax(k_c) + w2 * softmax(k_p) over the 8 * D neighbours q of p
    mask <- sum_q weights * mask_q, num_iters times

Different from the AFA program: the weights are computed once per image instead of once per set of
masks, and the neighbours of the masks are slices of one padded tensor that are added up one by
one; nothing of size 8 * D * M is kept.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class PAR(nn.Module):
    """Refine masks along the colours of an image.

    Args:
        num_iters: how often the masks are averaged over their neighbours (10 on VOC, 15 on COCO).
        dilations: distances of the 3x3 stencils, in pixels.
        color_scale: w1, the width of both kernels in standard deviations.
        pos_weight: w2, the weight of the position kernel.

    Raises:
        ValueError: if ``num_iters`` is negative or ``dilations`` is not a list of positive numbers.
    """

    def __init__(
        self,
        num_iters: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        color_scale: float = 0.3,
        pos_weight: float = 0.01,
    ) -> None:
        super().__init__()
        if num_iters < 0:
            raise ValueError(f"PAR needs num_iters >= 0, got {num_iters}: use e.g. 10")
        if not dilations or any(int(d) != d or d < 1 for d in dilations):
            raise ValueError(
                f"PAR needs dilations >= 1 (whole pixels), got {dilations!r}: use e.g. (1, 2, 4)"
            )
        self.num_iters = num_iters
        self.dilations = tuple(int(d) for d in dilations)
        self.color_scale = color_scale
        self.pos_weight = pos_weight
        stencil = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
        self.offsets = [(y * d, x * d) for d in self.dilations for y, x in stencil]

    def _neighbours(self, maps: Tensor) -> list[Tensor]:
        """Views of ``maps`` (B, C, H, W) shifted to each neighbour, edges replicated."""
        H, W = maps.shape[2:]
        pad = max(self.dilations)
        padded = F.pad(maps, (pad, pad, pad, pad), mode="replicate")
        return [padded[..., pad + y : pad + y + H, pad + x : pad + x + W] for y, x in self.offsets]

    def _position_weights(self, device: torch.device) -> Tensor:
        """softmax(k_p) of the neighbours, (8 * D, 1, 1): the same at every pixel."""
        distance = torch.tensor(self.offsets, dtype=torch.float32, device=device).norm(dim=1)
        kernel = -((distance / (distance.std() + 1e-8) / self.color_scale) ** 2)
        return kernel.softmax(dim=0).view(-1, 1, 1)

    @torch.no_grad()
    def weights(self, images: Tensor) -> Tensor:
        """Compute the weight of every neighbour.

        Args:
            images: (B, 3, H, W) RGB, 0..255.

        Returns:
            (B, 8 * D, H, W) float32; the sum over neighbours is 1 + ``pos_weight``.
        """
        images = images.float()
        neighbours = torch.stack(self._neighbours(images), dim=1)  # (B, 8D, 3, H, W)
        std = neighbours.std(dim=1, keepdim=True)
        difference = (neighbours - images.unsqueeze(1)) / (std + 1e-8) / self.color_scale
        kernel = -difference.square().mean(dim=2)
        return kernel.softmax(dim=1) + self.pos_weight * self._position_weights(images.device)

    @torch.no_grad()
    def refine(self, masks: Tensor, weights: Tensor) -> Tensor:
        """Average masks over their neighbours ``num_iters`` times.

        Args:
            masks: (B, M, h, w), resized to the weights bilinearly (corners aligned).
            weights: (B, 8 * D, H, W) of :meth:`weights`.

        Returns:
            (B, M, H, W) float32.
        """
        size = weights.shape[2:]
        masks = masks.float()
        if masks.shape[2:] != size:
            masks = F.interpolate(masks, size=size, mode="bilinear", align_corners=True)
        for _ in range(self.num_iters):
            total = torch.zeros_like(masks)
            for i, neighbour in enumerate(self._neighbours(masks)):
                total.addcmul_(neighbour, weights[:, i : i + 1])
            masks = total
        return masks

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Refine ``masks`` (B, M, h, w) along ``images`` (B, 3, H, W); gives (B, M, H, W).

        No gradient flows through the refinement: it makes labels.

        Args:
            images: (B, 3, H, W) RGB float, 0..255.
            masks: (B, M, h, w) float.

        Returns:
            (B, M, H, W) float32.
        """
        return self.refine(masks, self.weights(images))

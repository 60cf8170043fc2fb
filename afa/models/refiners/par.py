"""Pixel-adaptive refinement (PAR).

AFA (Ru et al., CVPR 2022), section 3.3 and equations 8-10, after pixel-adaptive convolution
(Su et al., CVPR 2019). B images, M masks, H W pixels, 8 neighbours at D dilations::

    k_c = -mean_rgb (|I_p - I_q| / (sigma_c + 1e-8) / w1)^2
    k_p = -(|p - q| / (sigma_p + 1e-8) / w1)^2
    weights = softmax(k_c) + w2 * softmax(k_p) over the 8 * D neighbours q of p
    mask <- sum_q weights * mask_q, num_iters times

Different from the AFA program: the weights are computed once per image instead of once per set of
masks, and nothing of size 8 * D * M is kept. Three ways to average the masks give the same: on CPU
a weighted sum of table rows (the masks lie pixel by pixel, so that a neighbour is one row for all
of them); on CUDA a Triton kernel, where Triton is installed; else, and for photos whose table of
neighbours would be too large, slices of one padded tensor that are added up one by one.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from afa.models.refiners.base import Refiner
from afa.models.refiners.par_triton import triton_average, triton_weights, uses_triton

DTYPES = ("float32", "bfloat16")
# Rows of the image whose weights are computed at a time: what is between fits into the cache.
STRIP_PIXELS = 2560
# A table with more entries (pixels x neighbours) is not made: 2**25 are 128 MiB.
MAX_TABLE = 2**25


@lru_cache(maxsize=2)
def neighbour_rows(H: int, W: int, offsets: tuple[tuple[int, int], ...]) -> Tensor:
    """Number the neighbours of every pixel, edges replicated.

    Args:
        H: height of the masks.
        W: their width.
        offsets: steps (y, x) to the neighbours.

    Returns:
        (H * W, len(offsets)) int32 on CPU: y * W + x of each. It is kept: do not write into it.
    """
    y, x = torch.arange(H, dtype=torch.int32), torch.arange(W, dtype=torch.int32)
    rows = torch.empty((H, W, len(offsets)), dtype=torch.int32)
    for i, (dy, dx) in enumerate(offsets):
        rows[..., i] = (y + dy).clamp(0, H - 1)[:, None] * W + (x + dx).clamp(0, W - 1)
    return rows.view(H * W, -1)


@lru_cache(maxsize=8)
def _position_kernel(
    offsets: tuple[tuple[int, int], ...], color_scale: float, device: torch.device
) -> Tensor:
    """softmax(k_p) of the neighbours, (8 * D, 1, 1); kept, for a copy would wait for the GPU."""
    distance = torch.tensor(offsets, dtype=torch.float32).norm(dim=1)
    kernel = -((distance / (distance.std() + 1e-8) / color_scale) ** 2)
    return kernel.softmax(dim=0).view(-1, 1, 1).to(device)


@MODELS.register_module()
class PAR(Refiner):
    """Refine masks along the colours of an image.

    Args:
        num_iters: how often the masks are averaged over their neighbours (10 on VOC, 15 on COCO).
        dilations: distances of the 3x3 stencils, in pixels.
        color_scale: w1, the width of both kernels in standard deviations.
        pos_weight: w2, the weight of the position kernel.
        dtype: ``'float32'``, or ``'bfloat16'`` to keep weights and masks in half the memory, which
            a GPU reads in half the time; the masks are then good to about 0.03.

    Raises:
        ValueError: if ``num_iters`` is negative, ``dilations`` is not a list of positive numbers,
            or ``dtype`` is unknown.
    """

    def __init__(
        self,
        num_iters: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        color_scale: float = 0.3,
        pos_weight: float = 0.01,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if num_iters < 0:
            raise ValueError(f"PAR needs num_iters >= 0, got {num_iters}: use e.g. 10")
        if not dilations or any(int(d) != d or d < 1 for d in dilations):
            raise ValueError(
                f"PAR needs dilations >= 1 (whole pixels), got {dilations!r}: use e.g. (1, 2, 4)"
            )
        if dtype not in DTYPES:
            raise ValueError(f"PAR needs dtype to be one of {DTYPES}, got {dtype!r}")
        self.num_iters = num_iters
        self.dilations = tuple(int(d) for d in dilations)
        self.color_scale = color_scale
        self.pos_weight = pos_weight
        self.dtype: torch.dtype = getattr(torch, dtype)
        stencil = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
        self.offsets = [(y * d, x * d) for d in self.dilations for y, x in stencil]

    def _neighbours(self, padded: Tensor, y0: int, y1: int) -> list[Tensor]:
        """Views of padded maps (..., H + 2 * pad, W + 2 * pad) at each neighbour of some rows."""
        pad = max(self.dilations)
        W = padded.shape[-1] - 2 * pad
        return [
            padded[..., pad + y0 + y : pad + y1 + y, pad + x : pad + x + W] for y, x in self.offsets
        ]

    def _pad(self, maps: Tensor) -> Tensor:
        """Replicate the edges of (B, C, H, W) maps as far as neighbours reach."""
        return F.pad(maps, (max(self.dilations),) * 4, mode="replicate")

    def _position_weights(self, device: torch.device) -> Tensor:
        """``pos_weight`` * softmax(k_p) of the neighbours, (8 * D, 1, 1): the same everywhere."""
        kernel = _position_kernel(tuple(self.offsets), self.color_scale, device)
        return self.pos_weight * kernel

    def _has_table(self, H: int, W: int, device: torch.device) -> bool:
        """Whether masks of this size are averaged by rows of a table."""
        return device.type == "cpu" and len(self.offsets) * H * W <= MAX_TABLE

    def _strip_weights(self, padded: Tensor, strip: Tensor, y0: int) -> Tensor:
        """softmax(k_c) of the rows from y0 on: (3, rows, W) of an image to (8 * D, rows, W)."""
        near = torch.stack(self._neighbours(padded, y0, y0 + strip.shape[1]))  # (8D, 3, rows, W)
        near -= strip
        # Deviations from the mean are squared and summed by hand: torch's std is far slower here.
        std = (near - near.mean(dim=0)).square_().sum(dim=0).div_(len(near) - 1).sqrt_()
        near *= 1 / ((std + 1e-8) * (self.color_scale * len(strip) ** 0.5))
        return near.square_().sum(dim=1).neg_().softmax(dim=0)

    @torch.no_grad()
    def weights(self, images: Tensor) -> Tensor:
        """Compute the weight of every neighbour.

        Args:
            images: (B, 3, H, W) RGB, 0..255.

        Returns:
            (B, 8 * D, H, W) of ``dtype``, in the layout that :meth:`refine` reads fastest; the sum
            over neighbours is 1 + ``pos_weight``.
        """
        images = images.float()
        B, _, H, W = images.shape
        if uses_triton(images.device):
            return triton_weights(
                images,
                self.offsets,
                self._position_weights(images.device),
                self.color_scale,
                self.dtype,
            )
        shape, K = (B, H, W), len(self.offsets)
        if self._has_table(H, W, images.device):
            weights = images.new_empty((*shape, K), dtype=self.dtype).permute(0, 3, 1, 2)
        else:
            weights = images.new_empty((B, K, H, W), dtype=self.dtype)
        padded, position = self._pad(images), self._position_weights(images.device)
        rows = max(1, STRIP_PIXELS // W) if images.device.type == "cpu" else H
        for b in range(B):
            for y0 in range(0, H, rows):
                strip = images[b, :, y0 : y0 + rows]
                color = self._strip_weights(padded[b], strip, y0)
                weights[b, :, y0 : y0 + rows] = color.add_(position)
        return weights

    @torch.no_grad()
    def refine(self, masks: Tensor, weights: Tensor) -> Tensor:
        """Average masks over their neighbours ``num_iters`` times.

        Args:
            masks: (B, M, h, w), resized to the weights bilinearly (corners aligned). Give all masks
                of an image at once: the weights are read once for all of them.
            weights: (B, 8 * D, H, W) of :meth:`weights`.

        Returns:
            (B, M, H, W) float32.
        """
        masks = self.resize(masks, weights)
        H, W = masks.shape[2:]
        if self.num_iters == 0 or masks.numel() == 0:
            return masks
        if uses_triton(masks.device):
            return triton_average(masks, weights, self.offsets, self.num_iters)
        if self._has_table(H, W, masks.device):
            return self._refine_by_table(masks, weights)
        return self._refine_by_slices(masks, weights)

    def _refine_by_table(self, masks: Tensor, weights: Tensor) -> Tensor:
        """A pixel is a row of M numbers; the neighbours of a pixel are 8 * D rows."""
        B, M, H, W = masks.shape
        rows = neighbour_rows(H, W, tuple(self.offsets))
        refined = torch.empty_like(masks, memory_format=torch.contiguous_format)
        for b in range(B):
            shares = weights[b].permute(1, 2, 0).reshape(H * W, -1).contiguous()
            table = masks[b].flatten(1).t().to(shares.dtype).contiguous()
            for _ in range(self.num_iters):
                table = F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares)
            refined[b] = table.t().view(M, H, W)
        return refined

    def _refine_by_slices(self, masks: Tensor, weights: Tensor) -> Tensor:
        """Add up the masks shifted to each neighbour; keeps nothing but sums."""
        weights = weights.contiguous()
        masks = masks.to(weights.dtype)
        for _ in range(self.num_iters):
            total = torch.zeros_like(masks)
            for i, near in enumerate(self._neighbours(self._pad(masks), 0, masks.shape[2])):
                total.addcmul_(near, weights[:, i : i + 1])
            masks = total
        return masks.float()

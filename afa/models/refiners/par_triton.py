"""Pixel-adaptive refinement as two Triton kernels: the weights, and one averaging step.

The formula stands in :mod:`afa.models.refiners.par`. One program takes a tile of pixels. The
weights are computed from the image, whose neighbourhood stays in the cache, and kept: an averaging
step then moves each weight once for all masks, 8 * D numbers a pixel, where computing them again
would cost 4 * 8 * D * 3 reads and as many operations. Sums are float32 whatever the weights are.

Triton is imported when a kernel is first needed; on a machine without it, and on CPU, PAR runs in
plain torch. With TRITON_INTERPRET=1 the kernels run on CPU, slowly, for tests. B images, M masks,
H W pixels, K neighbours.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

BLOCK = 128
MAX_MASKS = 16  # of one program; more are refined by several, each reading the weights again


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None


def uses_triton(device: torch.device) -> bool:
    """Whether PAR runs as Triton kernels on this device: on CUDA, where Triton is installed."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return has_triton() and (device.type == "cuda" or interpreted)


@lru_cache(maxsize=1)
def _kernels() -> Any:
    """Import the kernels, which need Triton."""
    from afa.models.refiners import par_kernels

    return par_kernels


@lru_cache(maxsize=8)
def _steps(offsets: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Steps to the neighbours along y and x, (K,) int32 each, on the device."""
    y, x = torch.tensor(offsets, dtype=torch.int32, device=device).t().contiguous()
    return y, x


@torch.no_grad()
def triton_weights(
    images: Tensor,
    offsets: Sequence[tuple[int, int]],
    position: Tensor,
    color_scale: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Compute the weight of every neighbour; see :meth:`PAR.weights`.

    Args:
        images: (B, 3, H, W) float32.
        offsets: K steps (y, x) to the neighbours.
        position: K weights of the position kernel, already scaled.
        color_scale: width of the colour kernel in standard deviations.
        dtype: of the result.

    Returns:
        (B, K, H, W), contiguous.
    """
    B, _, H, W = images.shape
    K = len(offsets)
    weights = torch.empty((B, K, H, W), dtype=dtype, device=images.device)
    y, x = _steps(tuple(offsets), images.device)
    grid = (-(-H * W // BLOCK), B)
    position = position.flatten().float().contiguous()
    # Triton launches on the current device, whatever it is given.
    with torch.cuda.device_of(images):
        _kernels().par_weights[grid](
            images.contiguous(), weights, y, x, position, H, W, 1 / color_scale, K=K, BLOCK=BLOCK
        )
    return weights


@torch.no_grad()
def triton_average(
    masks: Tensor, weights: Tensor, offsets: Sequence[tuple[int, int]], num_iters: int
) -> Tensor:
    """Average masks over their neighbours; see :meth:`PAR.refine`.

    Args:
        masks: (B, M, H, W).
        weights: (B, K, H, W) of :func:`triton_weights`.
        offsets: K steps (y, x) to the neighbours.
        num_iters: how often.

    Returns:
        (B, M, H, W) float32.
    """
    B, M, H, W = masks.shape
    y, x = _steps(tuple(offsets), masks.device)
    weights, masks = weights.contiguous(), masks.to(weights.dtype).contiguous()
    tile = min(MAX_MASKS, 1 << (M - 1).bit_length())
    grid = (-(-H * W // BLOCK), -(-M // tile), B)
    spare = torch.empty_like(masks)
    for i in range(num_iters):
        with torch.cuda.device_of(masks):
            _kernels().par_average[grid](
                masks, weights, spare, y, x, M, H, W, K=len(offsets), TILE=tile, BLOCK=BLOCK
            )
        # The first input may be the caller's: it is read, but never written into.
        masks, spare = spare, torch.empty_like(spare) if i == 0 else masks
    return masks.float()

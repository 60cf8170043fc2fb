"""Pixel-adaptive refinement (PAR) the way it is usually computed.

The formula of :mod:`afa.models.refiners.par`, with the neighbours of every map gathered by dilated
convolutions into one tensor, for the image and, in every iteration, for the masks. B images, M
masks, H W pixels, D dilations.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)


def gather_neighbours(maps: Tensor, dilations: Sequence[int]) -> Tensor:
    """Gather the 8 neighbours of a 3x3 stencil at every dilation, edges replicated.

    Args:
        maps: (B, C, H, W).
        dilations: distances in pixels.

    Returns:
        (B, C, 8 * D, H, W), for each dilation row by row without the centre.
    """
    B, C, H, W = maps.shape
    kernel = torch.eye(9, dtype=maps.dtype, device=maps.device).view(9, 1, 3, 3)
    kernel = kernel[[0, 1, 2, 3, 5, 6, 7, 8]]
    found = []
    for dilation in dilations:
        padded = F.pad(maps, (dilation,) * 4, mode="replicate")
        padded = padded.reshape(B * C, 1, H + 2 * dilation, W + 2 * dilation)
        found.append(F.conv2d(padded, kernel, dilation=dilation).view(B, C, 8, H, W))
    return torch.cat(found, dim=2)


@torch.no_grad()
def plain_par(
    images: Tensor,
    masks: Tensor,
    num_iters: int = 10,
    dilations: Sequence[int] = DILATIONS,
    color_scale: float = 0.3,
    pos_weight: float = 0.01,
) -> Tensor:
    """Refine one set of masks; the weights are computed anew at every call.

    Args:
        images: (B, 3, H, W) RGB, 0..255.
        masks: (B, M, H, W).
        num_iters: how often the masks are averaged over their neighbours.
        dilations: distances of the 3x3 stencils, in pixels.
        color_scale: w1, width of both kernels in standard deviations.
        pos_weight: w2, weight of the position kernel.

    Returns:
        (B, M, H, W).
    """
    around = gather_neighbours(images, dilations)  # (B, 3, 8D, H, W)
    deviation = around.std(dim=2, keepdim=True)
    scaled = (around - images[:, :, None]).abs() / (deviation + 1e-8) / color_scale
    color = -(scaled**2).mean(dim=1, keepdim=True)
    steps = torch.tensor([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])
    distance = torch.cat([(steps * d).float().norm(dim=1) for d in dilations])
    position = -((distance / (distance.std() + 1e-8) / color_scale) ** 2)
    position = position.to(images.device).view(1, 1, -1, 1, 1)
    weights = color.softmax(dim=2) + pos_weight * position.softmax(dim=2)
    for _ in range(num_iters):
        masks = (gather_neighbours(masks, dilations) * weights).sum(dim=2)
    return masks

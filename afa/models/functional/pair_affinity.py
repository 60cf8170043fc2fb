"""Pairs of neighbouring tokens: which there are, how far their features are apart, their labels.

AffinityNet (Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for
Weakly Supervised Semantic Segmentation", CVPR 2018). B images, C channels, h w token grid, P
offsets; place (p, y, x) stands for the pair of the tokens (y, x) and (y + dy_p, x + dx_p).
Different from :mod:`afa.models.functional.affinity` (AFA): the window is a disc and not a square,
and nothing of size N x N is made.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Offsets = Sequence[tuple[int, int]]

DISTANCES = ("mean", "sum")
PAIR_NEGATIVE = 0
PAIR_FOREGROUND = 1
PAIR_BACKGROUND = 2


def pair_offsets(radius: int = 5) -> tuple[tuple[int, int], ...]:
    """List the offsets to the neighbours of a token, each pair of tokens once.

    The neighbours are those closer than ``radius`` in the plane (Euclidean distance, the radius
    itself excluded); of two opposite offsets only the one below, or to the right, is listed.

    Args:
        radius: radius of the disc, in tokens; 5 gives 34 offsets, 1 none.

    Returns:
        Offsets (dy, dx) in ascending order, dy >= 0.

    Raises:
        ValueError: if the radius is below 1.

    Example:
        >>> pair_offsets(2)
        ((0, 1), (1, -1), (1, 0), (1, 1))
    """
    if radius < 1:
        raise ValueError(f"the radius of the pairs must be 1 token or more, got {radius}")
    return tuple(
        (dy, dx)
        for dy in range(radius)
        for dx in range(1 - radius, radius)
        if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius
    )


def overlap(size: int, offset: int) -> tuple[slice, slice]:
    """Give the part of an axis whose neighbour at ``offset`` is inside, and the neighbours' part.

    Args:
        size: length of the axis.
        offset: step to the neighbour, of either sign.

    Returns:
        Two slices of the same length (0 where the step is longer than the axis).
    """
    length = max(0, size - abs(offset))
    start = max(0, -offset)
    return slice(start, start + length), slice(start + offset, start + offset + length)


@lru_cache(maxsize=16)
def pairs_inside(
    grid: tuple[int, int], offsets: tuple[tuple[int, int], ...], device: torch.device | str = "cpu"
) -> Tensor:
    """Mark the pairs whose second token is inside the grid.

    Args:
        grid: height and width of the token grid.
        offsets: P offsets (dy, dx).
        device: where the mask is made.

    Returns:
        (P, h, w) bool. The result is kept: do not write into it.
    """
    inside = torch.zeros((len(offsets), *grid), dtype=torch.bool)
    for mask, (dy, dx) in zip(inside, offsets, strict=True):
        mask[overlap(grid[0], dy)[0], overlap(grid[1], dx)[0]] = True
    return inside.to(device)


class _PairDistances(torch.autograd.Function):
    """Sums of absolute differences; the backward pass makes the differences anew.

    Keeping them, as automatic differentiation would, takes P times the memory of the features.
    """

    @staticmethod
    def forward(ctx: Any, feat: Tensor, offsets: Offsets) -> Tensor:
        ctx.save_for_backward(feat)
        ctx.offsets = offsets
        B, _, h, w = feat.shape
        dist = feat.new_zeros((B, len(offsets), h, w))
        for p, (dy, dx) in enumerate(offsets):
            (y, y2), (x, x2) = overlap(h, dy), overlap(w, dx)
            dist[:, p, y, x] = (feat[:, :, y, x] - feat[:, :, y2, x2]).abs_().sum(dim=1)
        return dist

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (feat,) = ctx.saved_tensors
        h, w = feat.shape[2:]
        grad_feat = torch.zeros_like(feat)
        for p, (dy, dx) in enumerate(ctx.offsets):
            (y, y2), (x, x2) = overlap(h, dy), overlap(w, dx)
            slope = (feat[:, :, y, x] - feat[:, :, y2, x2]).sign_().mul_(grad[:, p, None, y, x])
            grad_feat[:, :, y, x] += slope
            grad_feat[:, :, y2, x2] -= slope
        return grad_feat, None


def pair_distances(feat: Tensor, offsets: Offsets, distance: str = "mean") -> Tensor:
    """Measure how far the features of each pair are apart; the affinity is exp of minus this.

    Args:
        feat: (B, C, h, w) features.
        offsets: P offsets (dy, dx).
        distance: ``'mean'`` of the absolute differences over the channels (the program) or their
            ``'sum'`` (the paper).

    Returns:
        (B, P, h, w) float32, 0 or more; 0 where the pair leaves the grid. Computed in float32 also
        under autocast.

    Raises:
        ValueError: if ``distance`` is neither of the two.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {DISTANCES}, got {distance!r}")
    with torch.autocast(feat.device.type, enabled=False):
        feat = feat if feat.dtype == torch.float64 else feat.float()
        total = _PairDistances.apply(feat, tuple(offsets))
        return total / feat.shape[1] if distance == "mean" else total


def pair_affinity(distances: Tensor, offsets: Offsets) -> Tensor:
    """Turn distances into affinities, W = exp(-distance).

    Args:
        distances: (B, P, h, w) as :func:`pair_distances` gives it.
        offsets: their P offsets (dy, dx).

    Returns:
        (B, P, h, w) in 0..1; 0 where the pair leaves the grid.
    """
    h, w = distances.shape[2:]
    return torch.exp(-distances) * pairs_inside((h, w), tuple(offsets), distances.device)


def pair_label(
    label_map: Tensor, grid: Sequence[int], offsets: Offsets, ignore_index: int = 255
) -> Tensor:
    """Turn a label map into labels of token pairs.

    The label map is read at token resolution (nearest).

    Args:
        label_map: (B, H, W) int64: 0 background, 1..K foreground, ``ignore_index`` neutral.
        grid: height and width of the token grid.
        offsets: P offsets (dy, dx).
        ignore_index: label of neutral pixels, and value of ignored pairs.

    Returns:
        (B, P, h, w) int64: ``PAIR_BACKGROUND`` where both tokens are background,
        ``PAIR_FOREGROUND`` where both have the same foreground class, ``PAIR_NEGATIVE`` where they
        differ, ``ignore_index`` where one is neutral or outside the grid.
    """
    h, w = (int(side) for side in grid)
    tokens = F.interpolate(label_map[:, None].float(), size=(h, w), mode="nearest").long()[:, 0]
    other = tokens.new_full((len(tokens), len(offsets), h, w), ignore_index)  # the second tokens
    for p, (dy, dx) in enumerate(offsets):
        (y, y2), (x, x2) = overlap(h, dy), overlap(w, dx)
        other[:, p, y, x] = tokens[:, y2, x2]
    first = tokens[:, None]
    kind = torch.where(first == 0, PAIR_BACKGROUND, PAIR_FOREGROUND)
    label = torch.where(first == other, kind, PAIR_NEGATIVE)
    return label.masked_fill((first == ignore_index) | (other == ignore_index), ignore_index)

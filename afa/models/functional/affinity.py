"""Affinity between tokens: the window, the labels, and affinity read from raw attention.

AFA (Ru et al., CVPR 2022), section 3.2. B images, h w token grid, N = h * w (row-major), A maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache(maxsize=16)
def radius_mask(grid: tuple[int, int], radius: int, device: torch.device | str = "cpu") -> Tensor:
    """Mark the pairs of tokens at most ``radius`` apart in both directions.

    Args:
        grid: height and width of the token grid.
        radius: half side of the square window, in tokens.
        device: where the mask is made.

    Returns:
        (N, N) bool, symmetric, True on the diagonal. The result is kept: do not write into it.
    """
    h, w = grid
    near_y = (torch.arange(h)[:, None] - torch.arange(h)).abs() <= radius
    near_x = (torch.arange(w)[:, None] - torch.arange(w)).abs() <= radius
    near = near_y[:, None, :, None] & near_x[None, :, None, :]
    return near.reshape(h * w, h * w).to(device)


def affinity_label(
    pseudo_label: Tensor, grid: Sequence[int], radius: int = 8, ignore_index: int = 255
) -> Tensor:
    """Turn a label map into labels of token pairs.

    The label map is read at token resolution (nearest). A pair is positive when both tokens have
    the same label (background included, and a token with itself), negative when they differ, and
    ignored when either is ``ignore_index`` or they are further apart than ``radius``.

    Args:
        pseudo_label: (B, H, W) int64 labels.
        grid: height and width of the token grid.
        radius: half side of the square window, in tokens.
        ignore_index: label of undecided pixels, and value of ignored pairs.

    Returns:
        (B, N, N) int64: 1 positive, 0 negative, ``ignore_index`` ignored.
    """
    h, w = (int(side) for side in grid)
    tokens = F.interpolate(pseudo_label[:, None].float(), size=(h, w), mode="nearest")
    tokens = tokens.flatten(1).long()  # (B, N)
    label = (tokens[:, :, None] == tokens[:, None, :]).long()
    known = tokens != ignore_index
    valid = known[:, :, None] & known[:, None, :]
    valid &= radius_mask((h, w), int(radius), pseudo_label.device)
    return label.masked_fill(~valid, ignore_index)


def attention_affinity(attn: Tensor, head_dim: int) -> Tensor:
    """Read an affinity from attention logits without learning anything.

    The mean over heads and blocks of softmax(logits / sqrt(head_dim)), made symmetric and divided
    by each row's maximum, so that it lies in 0..1 like a learned affinity. (The paper compares
    with raw attention without giving its normalisation; this one is ours.)

    Args:
        attn: (B, A, N, N) unscaled logits.
        head_dim: channels of one head.

    Returns:
        (B, N, N) in 0..1.
    """
    mean = (attn.float() * head_dim**-0.5).softmax(dim=-1).mean(dim=1)
    mean = mean + mean.transpose(1, 2)
    return mean / mean.amax(dim=2, keepdim=True)


def random_walk(
    maps: Tensor,
    affinity: Tensor,
    radius: int | None = 8,
    power: float = 2.0,
    num_steps: int = 1,
    eps: float = 0.1,
) -> Tensor:
    """Propagate maps with the transition matrix of an affinity.

    The affinity is masked to a square window, raised to ``power`` element by element and divided
    by its sum over the sources (+ ``eps``); the result is applied ``num_steps`` times.

    Args:
        maps: (B, M, h, w) maps on the token grid.
        affinity: (B, N, N), 0..1, row = target, column = source.
        radius: half side of the window in tokens, None for no window.
        power: the paper's alpha; sharpens the affinity.
        num_steps: how often the transition is applied.
        eps: added to the sum, so that a token without any affinity receives 0.

    Returns:
        (B, M, h, w) float32.

    Raises:
        ValueError: if the affinity does not belong to the grid of the maps.
    """
    B, _, h, w = maps.shape
    if affinity.shape != (B, h * w, h * w):
        raise ValueError(
            f"affinity must be (B, N, N) = {(B, h * w, h * w)} for maps on a {h}x{w} grid, "
            f"got {tuple(affinity.shape)}: resize the maps to the grid of the affinity first"
        )
    trans = affinity.float() ** power
    if radius is not None:
        trans = trans * radius_mask((h, w), int(radius), affinity.device)
    trans = trans / (trans.sum(dim=2, keepdim=True) + eps)
    flat = maps.float().flatten(2).transpose(1, 2)  # (B, N, M)
    for _ in range(num_steps):
        flat = torch.bmm(trans, flat)
    return flat.transpose(1, 2).reshape(maps.shape)


@dataclass(frozen=True)
class RandomWalk:
    """:func:`random_walk` with all that it needs beside the maps.

    Args:
        affinity: (B, N, N), 0..1.
        grid: height and width of its token grid.
        radius: see :func:`random_walk`, like the rest.
        power: the paper's alpha.
        num_steps: how often the transition is applied.
    """

    affinity: Tensor
    grid: tuple[int, int]
    radius: int | None = 8
    power: float = 2.0
    num_steps: int = 1

    def __call__(self, maps: Tensor) -> Tensor:
        """Propagate maps (B, M, h, w) on the token grid."""
        return random_walk(maps, self.affinity, self.radius, self.power, self.num_steps)

"""Random walk: spread maps along affinity.

AFA (Ru et al., CVPR 2022), equations 6 and 7: T = D^-1 A^alpha, vec(M') = T vec(M). B images,
M maps, h w token grid, N = h * w.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from afa.models.functional.affinity import radius_mask


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

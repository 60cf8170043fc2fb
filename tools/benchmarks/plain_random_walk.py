"""AffinityNet's random walk as the formula reads: T = D^-1 W^beta, vec(M*) = T^t vec(M).

T is the full N x N matrix, written entry by entry, and T^t is computed by squaring. B images, M
maps, h w token grid, N = h * w, P offsets (dy, dx) of one half of the window.
"""

import torch
from torch import Tensor

from afa.models.functional.pair_affinity import Offsets


def plain_transition(affinity: Tensor, offsets: Offsets, beta: float) -> Tensor:
    """Write T of one image, one pair of tokens after the other.

    Args:
        affinity: (P, h, w) in 0..1.
        offsets: P offsets (dy, dx) of half a window.
        beta: exponent of the affinity.

    Returns:
        (N, N) float64, rows sum to 1.
    """
    _, h, w = affinity.shape
    matrix = torch.eye(h * w, dtype=torch.float64)
    for p, (dy, dx) in enumerate(offsets):
        for y in range(h):
            for x in range(w):
                if 0 <= y + dy < h and 0 <= x + dx < w:
                    i, j = y * w + x, (y + dy) * w + x + dx
                    matrix[i, j] = matrix[j, i] = float(affinity[p, y, x]) ** beta
    return matrix / matrix.sum(dim=1, keepdim=True)


def plain_random_walk(
    maps: Tensor, affinity: Tensor, offsets: Offsets, beta: float, num_steps: int
) -> Tensor:
    """Spread maps (B, M, h, w) along affinity (B, P, h, w) by the full matrix T^t, in float64."""
    walked = []
    for one, pairs in zip(maps.double(), affinity, strict=True):
        power = torch.linalg.matrix_power(plain_transition(pairs, offsets, beta), num_steps)
        walked.append((one.flatten(1) @ power.t()).view_as(one))
    return torch.stack(walked)

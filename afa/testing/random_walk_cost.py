"""AffinityNet's random walk in its plain form, and what the fast one saves.

T is the full N x N matrix here, written entry by entry, and T^t is computed by squaring, as the
formula reads: T = D^-1 W^beta, vec(M*) = T^t vec(M).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from afa.models.utils.pair_affinity import Offsets, pair_affinity, pair_distances, pair_offsets
from afa.models.utils.transition import windowed_random_walk


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


def measure_random_walk(
    grid: tuple[int, int] = (47, 63),
    num_maps: int = 4,
    num_steps: int = 256,
    beta: float = 8.0,
    radius: int = 5,
    repeats: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """Time the sparse products and the squarings of the full matrix on made-up features.

    Args:
        grid: height and width of the token grid; 47 x 63 is a photo of 375 x 500 at stride 8.
        num_maps: maps of the image, background included.
        num_steps: t.
        beta: exponent of the affinity.
        radius: of the pairs, in tokens.
        repeats: runs of each, of which the fastest counts.
        seed: of the features and maps.

    Returns:
        ``sparse_s`` and ``dense_s`` in seconds, ``ratio`` dense / sparse, ``max_difference`` of the
        two results.
    """
    generator = torch.Generator().manual_seed(seed)
    offsets = pair_offsets(radius)
    feat = torch.rand(1, 64, *grid, generator=generator)
    affinity = pair_affinity(pair_distances(feat, offsets), offsets)
    maps = torch.rand(1, num_maps, *grid, generator=generator)

    def run(method: str) -> Tensor:
        return windowed_random_walk(maps, affinity, offsets, beta, num_steps, method)

    sparse_s, sparse = _fastest(lambda: run("sparse"), repeats)
    dense_s, dense = _fastest(lambda: run("dense"), repeats)
    return dict(
        sparse_s=sparse_s,
        dense_s=dense_s,
        ratio=dense_s / sparse_s,
        max_difference=float((sparse - dense).abs().max()),
    )


def _fastest(func: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = func()
        times.append(time.perf_counter() - start)
    return min(times), result

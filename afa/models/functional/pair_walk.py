"""Random walk of AffinityNet: many steps along a transition matrix that knows a window only.

AffinityNet (Ahn and Kwak, CVPR 2018): T = D^-1 W^beta (element by element) with
D_ii = sum_j W_ij^beta, vec(M*) = T^t vec(M). B images, M maps, h w token grid, N = h * w, P offsets
(dy, dx) of one half of the window, Q = 2 P + 1 of the whole.

T has at most Q entries in a row. Multiplying the maps with that sparse matrix is cheaper than
squaring the full one log2(t) times, except on small grids, where the overhead of the products
counts (see ``DENSE_MAX_TOKENS``; ``tools/benchmarks/random_walk_cost.py`` times both). Nor are t
products needed: W is symmetric, so the eigenvalues of T lie in -1..1, where x^t is a sum of
Chebyshev polynomials whose weights are those of a binomial distribution, hence next to nothing
above a few times sqrt(t) (Newman and Rivlin, 1976): 112 products for t = 256, up to 1e-12.
"""

import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor

from afa.models.functional.pair_affinity import Offsets, overlap, pairs_inside

METHODS = ("auto", "sparse", "dense")
# Measured on one CPU core with 3 maps and t = 256, sparse and dense: 8x8 tokens 9 and 1 ms, 12x12
# 10 and 3 ms, 16x16 19 and 22 ms, 20x20 30 and 75 ms; since then sparse takes half of that.
DENSE_MAX_TOKENS = 12 * 12
POWER_TOLERANCE = 1e-12


@lru_cache(maxsize=16)
def window_offsets(offsets: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Complete a half window: the offsets, their opposites and (0, 0), in ascending order."""
    opposite = tuple((-dy, -dx) for dy, dx in offsets)
    return tuple(sorted({*offsets, *opposite, (0, 0)}))


def transition_weights(affinity: Tensor, offsets: Offsets, beta: float = 8.0) -> Tensor:
    """Compute the rows of T from the affinity of the pairs.

    The affinity is symmetric and that of a token with itself is 1.

    Args:
        affinity: (B, P, h, w) in 0..1; what lies outside the grid is not read.
        offsets: P offsets (dy, dx), no two of them opposite.
        beta: exponent of the affinity, above 0.

    Returns:
        (B, Q, h, w) float32: weight with which the token at (y, x) takes from its neighbour at
        :func:`window_offsets`; 0 outside the grid, sum 1 over Q.

    Raises:
        ValueError: if the number of maps is not that of the offsets or beta is not above 0.
    """
    B, P, h, w = affinity.shape
    if len(offsets) != P:
        raise ValueError(f"affinity has {P} maps of pairs, but there are {len(offsets)} offsets")
    if beta <= 0:
        raise ValueError(f"beta, the exponent of the affinity, must be above 0, got {beta}")
    affinity = affinity if affinity.dtype == torch.float64 else affinity.float()
    place = {offset: q for q, offset in enumerate(window_offsets(tuple(offsets)))}
    weights = affinity.new_zeros((B, len(place), h, w))
    weights[:, place[0, 0]] = 1
    powered = affinity**beta
    for p, (dy, dx) in enumerate(offsets):
        (y, y2), (x, x2) = overlap(h, dy), overlap(w, dx)
        weights[:, place[dy, dx], y, x] = powered[:, p, y, x]
        weights[:, place[-dy, -dx], y2, x2] = powered[:, p, y, x]
    return weights / weights.sum(dim=1, keepdim=True)


@lru_cache(maxsize=16)
def _csr_layout(
    grid: tuple[int, int], window: tuple[tuple[int, int], ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay out T of a grid as a sparse matrix.

    Returns:
        Row starts (N + 1,), columns (nnz,) and which of (N, Q) places are entries, row by row. The
        window is in ascending order, so that the columns of a row are too.
    """
    h, w = grid
    entries = pairs_inside(grid, window).flatten(1).t()  # (N, Q)
    steps = torch.tensor([dy * w + dx for dy, dx in window])
    columns = (torch.arange(h * w)[:, None] + steps)[entries]
    starts = torch.cat([torch.zeros(1, dtype=torch.long), entries.sum(dim=1).cumsum(0)])
    return starts.to(device), columns.to(device), entries.to(device)


def sparse_transition(weights: Tensor, offsets: Offsets) -> Tensor:
    """Build T of one image as a sparse matrix.

    Args:
        weights: (Q, h, w) as :func:`transition_weights` gives it.
        offsets: the P offsets of the half window.

    Returns:
        (N, N), compressed sparse rows.
    """
    h, w = weights.shape[1:]
    starts, columns, entries = _csr_layout((h, w), window_offsets(tuple(offsets)), weights.device)
    values = weights.flatten(1).t()[entries]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            starts, columns, values, size=(h * w, h * w), check_invariants=False
        )


def matrix_power_times(matrix: Tensor, maps: Tensor, num_steps: int) -> Tensor:
    """Apply a full matrix (N, N) ``num_steps`` times, 0 or more, to maps (N, M) by squaring it."""
    while num_steps > 0:
        if num_steps % 2:
            maps = matrix @ maps
        num_steps //= 2
        if num_steps:
            matrix = matrix @ matrix
    return maps


@lru_cache(maxsize=16)
def chebyshev_weights(num_steps: int, tolerance: float = POWER_TOLERANCE) -> tuple[float, ...]:
    """Write x^t as a sum of Chebyshev polynomials, x^t = sum_k c_k T_k(x).

    c_k = 2^(1 - t) binomial(t, (t - k) / 2) where t - k is even (half of it for k = 0), else 0.

    Args:
        num_steps: t, 1 or more.
        tolerance: the polynomials of the highest degrees are left out as long as their weights
            sum up to less: no value in -1..1 is off by more.

    Returns:
        c_0 to the highest degree that is kept.
    """
    weights = [0.0] * (num_steps + 1)
    for k in range(num_steps % 2, num_steps + 1, 2):
        share = math.comb(num_steps, (num_steps - k) // 2) / 2**num_steps
        weights[k] = share if k == 0 else 2 * share
    left_out = 0.0
    while len(weights) > 2 and left_out + weights[-1] < tolerance:
        left_out += weights.pop()
    return tuple(weights)


def sparse_power_times(matrix: Tensor, maps: Tensor, num_steps: int) -> Tensor:
    """Apply a transition matrix ``num_steps`` times, 0 or more, by the Chebyshev sum of its power.

    ``matrix`` is (N, N) sparse with eigenvalues in -1..1, as T has; ``maps`` and the result are
    (N, M) float64.
    """
    if num_steps == 0:
        return maps
    weights = chebyshev_weights(num_steps)
    before, now = maps, matrix @ maps
    total = weights[0] * before + weights[1] * now
    for weight in weights[2:]:  # T_k+1(x) = 2 x T_k(x) - T_k-1(x)
        before, now = now, torch.sub(matrix @ now, before, alpha=0.5).mul_(2)
        if weight:
            total.add_(now, alpha=weight)
    return total


@torch.no_grad()
def windowed_random_walk(
    maps: Tensor,
    affinity: Tensor,
    offsets: Offsets,
    beta: float = 8.0,
    num_steps: int = 256,
    method: str = "auto",
) -> Tensor:
    """Spread maps along the affinity of token pairs.

    Computed in float64: in float32 the rows of T sum to 1 up to 1e-7 only, which hundreds of steps
    turn into more than 1e-5.

    Args:
        maps: (B, M, h, w) on the token grid; any M, also 0.
        affinity: (B, P, h, w) in 0..1.
        offsets: P offsets (dy, dx).
        beta: exponent of the affinity.
        num_steps: t, how often T is applied; 0 gives the maps back.
        method: ``'sparse'`` products, ``'dense'`` squarings, or ``'auto'``: the one that costs less
            on a grid of this size.

    Returns:
        (B, M, h, w) float32; each value is a weighted mean of the map's values, up to rounding.

    Raises:
        ValueError: if the grids differ or an argument is outside its range.
    """
    B, M, h, w = maps.shape
    if (B, h, w) != (affinity.shape[0], *affinity.shape[2:]):
        raise ValueError(
            f"maps {tuple(maps.shape)} and affinity {tuple(affinity.shape)} must have the same "
            "number of images and the same grid: resize the maps to the grid of the affinity first"
        )
    if num_steps < 0:
        raise ValueError(f"num_steps must be 0 or more, got {num_steps}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    if method == "auto":
        method = "dense" if h * w <= DENSE_MAX_TOKENS else "sparse"
    walked = torch.empty((B, M, h, w), dtype=torch.float32, device=maps.device)
    with torch.autocast(maps.device.type, enabled=False):
        weights = transition_weights(affinity.double(), offsets, beta)
        for i in range(B):
            trans = sparse_transition(weights[i], offsets)
            flat = maps[i].double().flatten(1).t().contiguous()  # (N, M)
            if method == "dense":
                flat = matrix_power_times(trans.to_dense(), flat, num_steps)
            else:
                flat = sparse_power_times(trans, flat, num_steps)
            walked[i] = flat.t().view(M, h, w)
    return walked

"""Time the ways to compute AffinityNet's random walk: `random_walk_cost.py [--grid H W]`.

T^t by products with the sparse matrix, and by squaring the full one. B images, M maps, h w token
grid, N = h * w.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from afa.utils.cli import main_guard


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Time AffinityNet's random walk on made-up features: products with the sparse "
        "matrix, and squarings of the full one."
    )
    parser.add_argument(
        "--grid", type=int, nargs=2, default=(47, 63), metavar=("H", "W"),
        help="tokens (default: 47 63, a photo of 375 x 500 at stride 8)",
    )  # fmt: skip
    parser.add_argument("--num-maps", type=int, default=4, help="background included (default: 4)")
    parser.add_argument("--num-steps", type=int, default=256, help="t (default: 256)")
    parser.add_argument("--radius", type=int, default=5, help="of the pairs (default: 5)")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts (default: 3)")
    return parser.parse_args()


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
    import torch

    from afa.models.functional.pair_affinity import pair_affinity, pair_distances, pair_offsets
    from afa.models.functional.pair_walk import windowed_random_walk

    generator = torch.Generator().manual_seed(seed)
    offsets = pair_offsets(radius)
    feat = torch.rand(1, 64, *grid, generator=generator)
    affinity = pair_affinity(pair_distances(feat, offsets), offsets)
    maps = torch.rand(1, num_maps, *grid, generator=generator)

    def run(method: str) -> Any:
        return windowed_random_walk(maps, affinity, offsets, beta, num_steps, method)

    sparse_s, sparse = _fastest(lambda: run("sparse"), repeats)
    dense_s, dense = _fastest(lambda: run("dense"), repeats)
    return dict(
        sparse_s=sparse_s,
        dense_s=dense_s,
        ratio=dense_s / sparse_s,
        max_difference=float((sparse - dense).abs().max()),
    )


def _fastest(func: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = func()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    """Measure, print the figures."""
    args = parse_args()
    found = measure_random_walk(**{**vars(args), "grid": tuple(args.grid)})
    print(
        f"sparse {found['sparse_s']:.3g} s, squared {found['dense_s']:.3g} s: "
        f"{found['ratio']:.1f} times; the results differ by {found['max_difference']:.1e} at most"
    )


if __name__ == "__main__":
    main_guard(main)

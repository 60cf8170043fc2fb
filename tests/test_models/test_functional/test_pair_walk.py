import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from afa.models.functional import (
    pair_affinity,
    pair_distances,
    pair_offsets,
    transition_weights,
    windowed_random_walk,
)
from afa.models.functional.pair_walk import (
    DENSE_MAX_TOKENS,
    chebyshev_weights,
    matrix_power_times,
    sparse_power_times,
    sparse_transition,
    window_offsets,
)

OFFSETS = pair_offsets(5)


def _affinity(grid, batch=1, offsets=OFFSETS):
    """Draw affinities of two halves that hardly belong together: T^256 mixes each of them."""
    halves = (torch.arange(grid[1]) >= grid[1] / 2).float()
    feat = 0.2 * torch.rand(batch, 1, *grid) + halves
    return pair_affinity(pair_distances(feat, offsets), offsets)


def _matrix_by_loop(affinity, offsets, beta):
    """T = D^-1 W^beta from W_ij of every two tokens."""
    _, h, w = affinity.shape
    tokens = [(y, x) for y in range(h) for x in range(w)]
    place = {offset: p for p, offset in enumerate(offsets)}
    rows = []
    for y, x in tokens:
        row = []
        for y2, x2 in tokens:
            there, back = place.get((y2 - y, x2 - x)), place.get((y - y2, x - x2))
            if (y, x) == (y2, x2):
                row.append(1.0)
            elif there is not None:
                row.append(float(affinity[there, y, x]) ** beta)
            elif back is not None:
                row.append(float(affinity[back, y2, x2]) ** beta)
            else:
                row.append(0.0)
        rows.append([value / sum(row) for value in row])
    return torch.tensor(rows, dtype=torch.float64)


def test_window_offsets():
    assert window_offsets(((0, 1), (1, -1))) == ((-1, 1), (0, -1), (0, 0), (0, 1), (1, -1))
    assert len(window_offsets(OFFSETS)) == 69


@pytest.mark.parametrize("beta", [1.0, 8.0, 2.5])
@pytest.mark.parametrize("grid", [(6, 7), (2, 9), (1, 1)])
def test_the_transition_is_the_formula(beta, grid):
    affinity = _affinity(grid, batch=2)
    weights = transition_weights(affinity, OFFSETS, beta)
    assert weights.shape == (2, 69, *grid)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, *grid))
    for one, pairs in zip(weights, affinity, strict=True):
        expected = _matrix_by_loop(pairs, OFFSETS, beta)
        matrix = sparse_transition(one, OFFSETS).to_dense()
        torch.testing.assert_close(matrix.double(), expected, rtol=1e-5, atol=1e-7)


def test_transition_by_hand():
    affinity = torch.tensor([[[[0.5, 0.1]]]])  # two tokens; 0.1 belongs to a pair outside
    weights = transition_weights(affinity, [(0, 1)], beta=2)
    matrix = sparse_transition(weights[0], [(0, 1)]).to_dense()
    torch.testing.assert_close(matrix, torch.tensor([[0.8, 0.2], [0.2, 0.8]]))


@pytest.mark.parametrize("method", ["sparse", "dense", "auto"])
@pytest.mark.parametrize("num_steps", [0, 1, 2, 5, 256])
def test_walk_is_the_matrix_power(method, num_steps):
    grid = (7, 9)
    affinity, maps = _affinity(grid, batch=2), torch.rand(2, 3, *grid)
    walked = windowed_random_walk(maps, affinity, OFFSETS, 8.0, num_steps, method)
    assert walked.dtype == torch.float32 and walked.shape == maps.shape
    for i in range(2):
        matrix = _matrix_by_loop(affinity[i], OFFSETS, 8.0)
        power = torch.eye(63, dtype=torch.float64)
        for _ in range(num_steps):
            power = matrix @ power
        expected = (power @ maps[i].double().flatten(1).t()).t().view(3, *grid)
        assert (walked[i] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_a_large_grid_equals_the_power_in_float64(method):
    grid = (24, 20)
    affinity, maps = _affinity(grid), torch.rand(1, 2, *grid)
    maps[..., :7] += 1
    weights = transition_weights(affinity.double(), OFFSETS, 8.0)
    matrix = sparse_transition(weights[0], OFFSETS).to_dense()
    power = torch.linalg.matrix_power(matrix, 256)
    walked = windowed_random_walk(maps, affinity, OFFSETS, 8.0, 256, method)
    expected = (power @ maps[0].double().flatten(1).t()).t().view_as(walked)
    assert expected.std(dim=(2, 3)).min() > 0.1  # not everywhere the same
    assert (walked - expected).abs().max() < 1e-5


def test_walk_by_hand():
    affinity = torch.tensor([[[[0.5, 0.0]]]])
    maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    walked = windowed_random_walk(maps, affinity, [(0, 1)], beta=2, num_steps=2)
    # [[.8, .2], [.2, .8]] squared: [[.68, .32], [.32, .68]]
    torch.testing.assert_close(walked, torch.tensor([[[[0.68, 0.32]], [[0.64, 1.36]]]]))


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_nothing_crosses_where_the_affinity_is_zero(method):
    grid, offsets = (4, 6), pair_offsets(2)
    affinity = torch.ones(1, len(offsets), *grid)
    for p, (_, dx) in enumerate(offsets):
        for x in range(6):
            if (x < 3) != (x + dx < 3):
                affinity[:, p, :, x] = 0
    maps = torch.zeros(1, 1, *grid)
    maps[..., :3] = torch.rand(4, 3)
    walked = windowed_random_walk(maps, affinity, offsets, 8.0, 256, method)
    assert walked[..., 3:].eq(0).all()
    left = walked[0, 0, :, :3]
    assert (left.max() - left.min()) < 1e-4  # one value on the whole side


@pytest.mark.parametrize("method", ["sparse", "dense"])
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (3, 3)])
def test_no_affinity_at_all_leaves_the_maps(method, grid):
    maps = torch.rand(1, 2, *grid)
    walked = windowed_random_walk(maps, torch.zeros(1, 34, *grid), OFFSETS, method=method)
    torch.testing.assert_close(walked, maps)


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_no_map_and_no_image(method):
    affinity = _affinity((3, 4))
    assert (
        windowed_random_walk(torch.zeros(1, 0, 3, 4), affinity, OFFSETS, method=method).numel() == 0
    )
    none = windowed_random_walk(torch.zeros(0, 2, 3, 4), affinity[:0], OFFSETS, method=method)
    assert none.shape == (0, 2, 3, 4)


def test_constant_maps_stay():
    walked = windowed_random_walk(torch.full((1, 1, 20, 20), 0.3), _affinity((20, 20)), OFFSETS)
    assert (walked - 0.3).abs().max() < 1e-5


def test_float32_also_under_autocast():
    affinity, maps = _affinity((5, 5)), torch.rand(1, 2, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        walked = windowed_random_walk(maps, affinity, OFFSETS)
    assert torch.equal(walked, windowed_random_walk(maps, affinity, OFFSETS))


@pytest.mark.parametrize("num_steps", [0, 1, 6, 7])
def test_matrix_power_times(num_steps):
    matrix, maps = torch.rand(4, 4) / 4, torch.rand(4, 2)
    expected = maps
    for _ in range(num_steps):
        expected = matrix @ expected
    torch.testing.assert_close(matrix_power_times(matrix, maps, num_steps), expected)


def test_chebyshev_weights_by_hand():
    assert chebyshev_weights(1) == (0, 1)
    assert chebyshev_weights(2) == (0.5, 0, 0.5)  # x^2 = (1 + T_2) / 2
    assert chebyshev_weights(3) == (0, 0.75, 0, 0.25)


def test_chebyshev_weights_give_the_power_everywhere():
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    for num_steps in (1, 5, 16, 256, 1000):
        weights = chebyshev_weights(num_steps)
        found = sum(c * torch.cos(k * torch.acos(x)) for k, c in enumerate(weights))
        assert (found - x**num_steps).abs().max() < 2e-12
    assert len(chebyshev_weights(256)) < 256 / 2


@pytest.mark.parametrize("num_steps", [0, 1, 2, 7, 256])
def test_sparse_power_is_the_product_step_by_step(num_steps):
    weights = transition_weights(_affinity((6, 9)).double(), OFFSETS)
    matrix = sparse_transition(weights[0], OFFSETS)
    maps = torch.rand(54, 3, dtype=torch.float64)
    expected = maps
    for _ in range(num_steps):
        expected = matrix @ expected
    assert (sparse_power_times(matrix, maps, num_steps) - expected).abs().max() < 1e-11


class _Products(TorchDispatchMode):
    """Note how many multiplications each matrix product takes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            left, right = args
            entries = left.numel() if left.layout == torch.strided else len(left.values())
            self.sizes.append(entries * right.shape[1])
        return func(*args, **(kwargs or {}))


def _products(method, side):
    affinity, maps = _affinity((side, side)), torch.rand(1, 3, side, side)
    with _Products() as products:
        windowed_random_walk(maps, affinity, OFFSETS, method=method)
    return products.sizes


def test_the_method_is_chosen_by_what_it_costs():
    side = math.isqrt(DENSE_MAX_TOKENS)
    dense, sparse = _products("dense", side // 2), _products("sparse", side // 2)
    # On a small grid the multiplications are about as many: the overhead of each product decides.
    assert len(dense) == 9 and len(sparse) == 112
    assert sum(dense) < 2 * sum(sparse)
    assert _products("auto", side // 2) == dense
    # On a large one the squarings, N^3 each, are more than all sparse products together.
    dense, sparse = _products("dense", 2 * side), _products("sparse", 2 * side)
    assert dense[0] == (2 * side) ** 6
    assert 10 * sum(sparse) < sum(dense)
    assert _products("auto", 2 * side) == sparse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(maps=torch.zeros(1, 2, 3, 5)), "the same grid: resize the maps"),
        (dict(maps=torch.zeros(2, 2, 3, 4)), "the same number of images"),
        (dict(offsets=OFFSETS[:3]), "34 maps of pairs, but there are 3 offsets"),
        (dict(beta=0), "beta.* above 0, got 0"),
        (dict(num_steps=-1), "num_steps must be 0 or more, got -1"),
        (dict(method="fast"), "method must be one of .*, got 'fast'"),
    ],
)
def test_wrong_arguments(arguments, message):
    right = dict(maps=torch.zeros(1, 2, 3, 4), affinity=_affinity((3, 4)), offsets=OFFSETS)
    with pytest.raises(ValueError, match=message):
        windowed_random_walk(**{**right, **arguments})

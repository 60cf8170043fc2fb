import math

import pytest
import torch

from afa.models.functional import pair_affinity, pair_distances, pair_label, pair_offsets
from afa.models.functional.pair_affinity import (
    PAIR_BACKGROUND,
    PAIR_FOREGROUND,
    PAIR_NEGATIVE,
    overlap,
    pairs_inside,
)

OFFSETS = pair_offsets(3)


def _pairs_by_loop(grid, radius):
    """Every unordered pair of tokens closer than the radius, from the distance of each two."""
    tokens = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    return {
        (i, j) for i in tokens for j in tokens if i < j and math.dist(i, j) < radius
    }  # i before j, row by row


@pytest.mark.parametrize(("radius", "count"), [(1, 0), (2, 4), (3, 12), (5, 34)])
def test_number_of_offsets(radius, count):
    assert len(pair_offsets(radius)) == count


@pytest.mark.parametrize("radius", [2, 3, 5])
@pytest.mark.parametrize("grid", [(7, 9), (2, 3), (1, 1)])
def test_the_window_has_every_pair_once(radius, grid):
    offsets = pair_offsets(radius)
    inside = pairs_inside(grid, offsets)
    listed = [
        ((y, x), (y + offsets[p][0], x + offsets[p][1])) for p, y, x in inside.nonzero().tolist()
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == _pairs_by_loop(grid, radius)


def test_radius_below_one():
    with pytest.raises(ValueError, match="1 token or more, got 0"):
        pair_offsets(0)


@pytest.mark.parametrize(
    ("offset", "first"), [(2, [0, 1, 2]), (-2, [2, 3, 4]), (0, [0, 1, 2, 3, 4])]
)
def test_overlap(offset, first):
    axis = list(range(5))
    here, there = overlap(5, offset)
    assert axis[here] == first
    assert axis[there] == [place + offset for place in first]


@pytest.mark.parametrize("offset", [5, 6, -5, -9])
def test_overlap_is_empty_where_the_step_is_too_long(offset):
    here, there = overlap(5, offset)
    assert list(range(5))[here] == [] == list(range(5))[there]


def _distances_by_loop(feat, offsets, distance):
    B, C, h, w = feat.shape
    out = torch.zeros(B, len(offsets), h, w, dtype=torch.float64)
    for b in range(B):
        for p, (dy, dx) in enumerate(offsets):
            for y in range(h):
                for x in range(w):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        gaps = [
                            abs(float(feat[b, c, y, x]) - float(feat[b, c, y + dy, x + dx]))
                            for c in range(C)
                        ]
                        out[b, p, y, x] = sum(gaps) / (C if distance == "mean" else 1)
    return out


@pytest.mark.parametrize("distance", ["mean", "sum"])
@pytest.mark.parametrize("grid", [(4, 5), (2, 2), (1, 1)])
def test_distances_and_affinity_are_the_formula(distance, grid):
    feat = torch.randn(2, 3, *grid)
    expected = _distances_by_loop(feat, OFFSETS, distance)
    found = pair_distances(feat, OFFSETS, distance)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    inside = pairs_inside(grid, OFFSETS)
    torch.testing.assert_close(
        pair_affinity(found, OFFSETS).double(), torch.exp(-expected) * inside, rtol=1e-5, atol=1e-6
    )


def test_affinity_by_hand():
    feat = torch.tensor([[[[0.0, 1.0]], [[0.0, 3.0]]]])  # two tokens, differences 1 and 3
    mean = pair_distances(feat, [(0, 1)])
    assert mean.tolist() == [[[[2.0, 0.0]]]]
    assert pair_distances(feat, [(0, 1)], "sum").tolist() == [[[[4.0, 0.0]]]]
    affinity = pair_affinity(mean, [(0, 1)])
    assert affinity[0, 0, 0].tolist() == [pytest.approx(math.exp(-2)), 0]


@pytest.mark.parametrize("distance", ["mean", "sum"])
def test_gradient_of_the_distances(distance):
    feat = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pair_distances(f, OFFSETS, distance), feat)


def test_equal_features_have_no_slope():
    feat = torch.ones(1, 2, 3, 3, requires_grad=True)
    dist = pair_distances(feat, OFFSETS)
    dist.sum().backward()
    assert not dist.any() and not feat.grad.any()


def test_float32_under_autocast():
    feat = torch.full((1, 1, 1, 2), 1.0, dtype=torch.bfloat16)
    feat[..., 1] = 1.0078125  # the next number of bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        dist = pair_distances(feat, [(0, 1)])
    assert dist.dtype == torch.float32
    assert dist[0, 0, 0, 0].item() == pytest.approx(0.0078125)


def test_unknown_distance():
    with pytest.raises(ValueError, match=r"one of .*'mean', 'sum'.*, got 'max'"):
        pair_distances(torch.zeros(1, 1, 2, 2), OFFSETS, "max")


def _label_by_loop(tokens, offsets):
    B, h, w = tokens.shape
    out = torch.full((B, len(offsets), h, w), 255)
    for b in range(B):
        for p, (dy, dx) in enumerate(offsets):
            for y in range(h):
                for x in range(w):
                    if not (0 <= y + dy < h and 0 <= x + dx < w):
                        continue
                    one, two = int(tokens[b, y, x]), int(tokens[b, y + dy, x + dx])
                    if 255 in (one, two):
                        continue
                    same = PAIR_BACKGROUND if one == 0 else PAIR_FOREGROUND
                    out[b, p, y, x] = same if one == two else PAIR_NEGATIVE
    return out


@pytest.mark.parametrize("radius", [2, 5])
@pytest.mark.parametrize("grid", [(6, 7), (3, 2), (1, 1)])
def test_labels_are_the_rule(grid, radius):
    offsets = pair_offsets(radius)
    tokens = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, *grid))]
    assert torch.equal(pair_label(tokens, grid, offsets), _label_by_loop(tokens, offsets))


def test_labels_by_hand():
    label_map = torch.tensor([[[0, 0, 3], [255, 3, 3]]])
    label = pair_label(label_map, (2, 3), [(0, 1), (1, 0)])
    assert label.tolist() == [
        [
            [[PAIR_BACKGROUND, PAIR_NEGATIVE, 255], [255, PAIR_FOREGROUND, 255]],
            [[255, PAIR_NEGATIVE, PAIR_FOREGROUND], [255, 255, 255]],
        ]
    ]


def test_labels_are_read_at_the_tokens():
    label_map = torch.zeros(1, 16, 16, dtype=torch.long)
    label_map[0, :8, 8:] = 1
    label_map[0, 0, 9] = 2  # between the tokens
    label = pair_label(label_map, (2, 2), [(0, 1), (1, 0)])
    assert label[0, 0].tolist() == [[PAIR_NEGATIVE, 255], [PAIR_BACKGROUND, 255]]
    assert label[0, 1].tolist() == [[PAIR_BACKGROUND, PAIR_NEGATIVE], [255, 255]]


@pytest.mark.parametrize("value", [0, 4, 255])
def test_labels_of_one_kind(value):
    kind = {0: PAIR_BACKGROUND, 4: PAIR_FOREGROUND, 255: 255}[value]
    label = pair_label(torch.full((1, 4, 4), value), (4, 4), OFFSETS)
    inside = pairs_inside((4, 4), OFFSETS)
    assert (label[0][inside] == kind).all() and (label[0][~inside] == 255).all()


def test_another_neutral_label():
    label = pair_label(torch.tensor([[[7, 1, 1]]]), (1, 3), [(0, 1)], ignore_index=7)
    assert label.tolist() == [[[[7, PAIR_FOREGROUND, 7]]]]

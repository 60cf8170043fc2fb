import math

import pytest
import torch

from afa.models.functional import affinity_label, attention_affinity, radius_mask, random_walk


def _label_by_loop(label, grid, radius, ignore_index):
    B, H, W = label.shape
    h, w = grid
    out = torch.full((B, h * w, h * w), ignore_index)
    places = [(y, x) for y in range(h) for x in range(w)]
    for b in range(B):
        token = {(y, x): int(label[b, y * H // h, x * W // w]) for y, x in places}
        for i, p in enumerate(places):
            for j, q in enumerate(places):
                near = abs(p[0] - q[0]) <= radius and abs(p[1] - q[1]) <= radius
                if near and ignore_index not in (token[p], token[q]):
                    out[b, i, j] = int(token[p] == token[q])
    return out


@pytest.mark.parametrize("radius", [0, 1, 2, 8])
def test_affinity_label_is_the_formula(radius):
    label = torch.tensor([0, 0, 1, 3, 255])[torch.randint(0, 5, (2, 8, 12))]
    for grid in [(4, 3), (2, 4), (1, 1)]:
        expected = _label_by_loop(label, grid, radius, 255)
        assert torch.equal(affinity_label(label, grid, radius), expected)


def test_affinity_label_by_hand():
    label = torch.tensor([[[0, 0, 2, 255]]])
    assert affinity_label(label, (1, 4), radius=1).tolist() == [
        [[1, 1, 255, 255], [1, 1, 0, 255], [255, 0, 1, 255], [255, 255, 255, 255]]
    ]


def test_radius_mask_is_a_square_window_also_on_a_grid_that_is_not_square():
    mask = radius_mask((2, 3), 1)
    rows = ["110110", "111111", "011011", "110110", "111111", "011011"]
    assert mask.int().tolist() == [[int(c) for c in row] for row in rows]
    assert torch.equal(mask, mask.T)
    assert radius_mask((2, 3), 0).tolist() == torch.eye(6).bool().tolist()
    assert radius_mask((2, 3), 1) is mask  # made once


def test_attention_affinity_is_the_formula():
    attn = torch.randn(2, 3, 4, 4)
    out = attention_affinity(attn, head_dim=16)
    for b in range(2):
        mean = [[0.0] * 4 for _ in range(4)]
        for a in range(3):
            for i in range(4):
                row = [math.exp(float(v) / 4) for v in attn[b, a, i]]
                for j in range(4):
                    mean[i][j] += row[j] / sum(row) / 3
        both = [[mean[i][j] + mean[j][i] for j in range(4)] for i in range(4)]
        expected = torch.tensor([[v / max(row) for v in row] for row in both])
        torch.testing.assert_close(out[b], expected)
    assert out.amax(2).tolist() == [[1] * 4] * 2


def test_attention_affinity_of_large_bf16_logits_is_finite_float32():
    out = attention_affinity(1e4 * torch.randn(1, 2, 4, 4).bfloat16(), head_dim=32)
    assert out.dtype == torch.float32 and out.isfinite().all()


def _walk_by_loop(maps, affinity, radius, power, num_steps, eps):
    B, M, h, w = maps.shape
    places = [(y, x) for y in range(h) for x in range(w)]
    out = maps.clone()
    for _ in range(num_steps):
        before = out.clone()
        for b in range(B):
            for i, p in enumerate(places):
                weight = {}
                for j, q in enumerate(places):
                    if radius is None or max(abs(p[0] - q[0]), abs(p[1] - q[1])) <= radius:
                        weight[j] = float(affinity[b, i, j]) ** power
                norm = sum(weight.values()) + eps
                for m in range(M):
                    flat = before[b, m].flatten()
                    out[b, m, p[0], p[1]] = sum(v * flat[j] for j, v in weight.items()) / norm
    return out


@pytest.mark.parametrize("radius", [None, 1, 2])
@pytest.mark.parametrize(("power", "num_steps"), [(1.0, 1), (2.0, 1), (2.0, 3)])
def test_random_walk_is_the_formula(radius, power, num_steps):
    maps, affinity = torch.rand(2, 2, 3, 4), torch.rand(2, 12, 12)
    expected = _walk_by_loop(maps, affinity, radius, power, num_steps, 0.1)
    torch.testing.assert_close(random_walk(maps, affinity, radius, power, num_steps), expected)


def test_random_walk_by_hand():
    maps = torch.tensor([[[[1.0, 0.0, 4.0]]]])
    affinity = torch.tensor([[[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.0]]])
    walked = random_walk(maps, affinity, radius=1, power=2.0, eps=0.1)
    # Row 1: (1*1 + 0.25*0) / 1.35; row 2: (0.25*1 + 0.25*4) / 1.6; row 3: nothing / 0.1
    torch.testing.assert_close(walked, torch.tensor([[[[1 / 1.35, 1.25 / 1.6, 0.0]]]]))


def test_a_walk_along_itself_keeps_the_order_of_the_maps():
    maps = torch.rand(1, 3, 2, 2)
    walked = random_walk(maps, torch.eye(4)[None], radius=None)
    torch.testing.assert_close(walked, maps / 1.1)


def test_all_zero_affinity_no_maps_and_one_token_are_finite():
    assert not random_walk(torch.rand(1, 2, 2, 2), torch.zeros(1, 4, 4)).any()
    assert random_walk(torch.rand(1, 0, 2, 2), torch.rand(1, 4, 4)).shape == (1, 0, 2, 2)
    assert random_walk(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1)).item() == pytest.approx(1 / 1.1)


def test_bf16_affinity_is_summed_in_float32():
    walked = random_walk(torch.rand(1, 1, 2, 2), torch.rand(1, 4, 4).bfloat16())
    assert walked.dtype == torch.float32


def test_maps_on_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 6, 6\) for maps on a 2x3 grid, got \(1, 4, 4\)"):
        random_walk(torch.rand(1, 1, 2, 3), torch.rand(1, 4, 4))

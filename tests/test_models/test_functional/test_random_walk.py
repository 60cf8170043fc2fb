import pytest
import torch

from afa.models.functional import random_walk


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

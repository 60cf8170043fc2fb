import torch

from afa.models.refiners import PAR
from plain_par import gather_neighbours, plain_par


def test_neighbours_by_hand():
    maps = torch.arange(6.0).view(1, 1, 2, 3)
    found = gather_neighbours(maps, (1, 2))
    assert found.shape == (1, 1, 16, 2, 3)
    # The pixel 4 (row 1, column 1): edges are replicated below.
    assert found[0, 0, :8, 1, 1].tolist() == [0, 1, 2, 3, 5, 3, 4, 5]
    assert found[0, 0, 8:, 1, 1].tolist() == [0, 1, 2, 3, 5, 3, 4, 5]
    assert found[0, 0, :3, 0, 0].tolist() == [0, 0, 1]


def test_plain_par_is_the_fast_one():
    images, masks = 255 * torch.rand(2, 3, 20, 31), torch.rand(2, 5, 20, 31)
    fast = PAR(num_iters=10)(images, masks)
    assert (plain_par(images, masks) - fast).abs().max() < 1e-5
    some = dict(num_iters=3, dilations=(1, 5), color_scale=0.5, pos_weight=0.1)
    assert (plain_par(images, masks, **some) - PAR(**some)(images, masks)).abs().max() < 1e-5


def test_sets_of_masks_are_refined_apart():
    images, masks = 255 * torch.rand(1, 3, 9, 7), torch.rand(1, 6, 9, 7)
    sets = [plain_par(images, part, num_iters=2) for part in masks.chunk(2, dim=1)]
    torch.testing.assert_close(torch.cat(sets, 1), plain_par(images, masks, num_iters=2))

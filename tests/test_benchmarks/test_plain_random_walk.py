import torch

from afa.models.functional import pair_offsets, windowed_random_walk
from plain_random_walk import plain_random_walk, plain_transition


def test_plain_transition_by_hand():
    matrix = plain_transition(torch.tensor([[[0.5, 0.9]]]), [(0, 1)], beta=2)
    torch.testing.assert_close(matrix, torch.tensor([[0.8, 0.2], [0.2, 0.8]]).double())


def test_plain_walk_is_the_fast_one():
    offsets = pair_offsets(3)
    affinity = 1 - 0.3 * torch.rand(2, len(offsets), 4, 6)
    maps = torch.rand(2, 3, 4, 6)
    plain = plain_random_walk(maps, affinity, offsets, 8.0, 256)
    for method in ("sparse", "dense"):
        fast = windowed_random_walk(maps, affinity, offsets, 8.0, 256, method)
        assert (fast - plain).abs().max() < 1e-5

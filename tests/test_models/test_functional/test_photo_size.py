import pytest
import torch
import torch.nn.functional as F

from afa.models.functional import cut_padding, resize_strips
from afa.models.functional.photo_size import possible_labels


def _joined(maps, size, **kwargs):
    strips = list(resize_strips(maps, size, **kwargs))
    assert [y0 for y0, _ in strips] == torch.tensor(
        [0] + [strip.shape[2] for _, strip in strips[:-1]]
    ).cumsum(0).tolist()
    return torch.cat([strip for _, strip in strips], dim=2), len(strips)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("grid", [(5, 7), (1, 1), (40, 3)])
def test_strips_are_the_rows_of_the_whole(grid, align_corners):
    maps, size = torch.rand(2, 3, *grid), (23, 11)
    whole = F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)
    for max_elements in (1, 2 * 3 * 11 * 4, 2 * 3 * 11 * 22):
        joined, count = _joined(maps, size, align_corners=align_corners, max_elements=max_elements)
        assert count == {1: 23, 264: 6, 1452: 2}[max_elements]
        torch.testing.assert_close(joined, whole, rtol=1e-5, atol=1e-5)


def test_what_fits_is_interpolated_in_one_piece_bit_for_bit():
    maps = torch.rand(1, 4, 9, 6)
    joined, count = _joined(maps, (50, 40))
    assert count == 1
    assert torch.equal(joined, F.interpolate(maps, size=(50, 40), mode="bilinear"))


def test_a_strip_by_hand():
    maps = torch.tensor([[[[0.0], [4.0]]]])
    strips = list(resize_strips(maps, (4, 1), max_elements=2))
    assert [(y0, strip.flatten().tolist()) for y0, strip in strips] == [
        (0, [0.0, 1.0]),
        (2, [3.0, 4.0]),
    ]


def test_a_strip_never_holds_more_than_it_may():
    for _, strip in resize_strips(torch.rand(1, 21, 4, 4), (300, 200), max_elements=50_000):
        assert strip.numel() <= 50_000


def test_padding_is_cut_at_the_resolution_of_the_input():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    assert cut_padding(maps, (3, 4), None) is maps
    assert cut_padding(maps, (6, 8), (0, 0, 0, 0)) is maps
    cut = cut_padding(maps, (3, 4), (1, 0, 0, 2))  # left, right, top, bottom
    assert torch.equal(cut, maps[:, :, :1, 1:])
    whole = F.interpolate(maps, size=(6, 8), mode="bilinear")
    assert torch.equal(cut_padding(maps, (6, 8), (0, 3, 1, 0)), whole[:, :, 1:, :5])


def _logits(*probs):
    """Logits (C, 1, W) of columns of probabilities."""
    return torch.tensor(probs).log().T[:, None]


def test_background_winners_and_what_reaches_the_threshold():
    logits = _logits((0.01, 0.9, 0.05, 0.03, 0.01), (0.02, 0.8, 0.03, 0.14, 0.01))
    assert possible_labels(logits, 0.1).tolist() == [0, 1, 3]
    assert possible_labels(logits, 0.045).tolist() == [0, 1, 2, 3]
    assert possible_labels(logits, 0.5).tolist() == [0, 1]
    assert possible_labels(logits, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_winner_enters_however_unsure_it_is():
    logits = _logits((0.2, 0.26, 0.27, 0.27 - 1e-3))
    assert possible_labels(logits, 0.9).tolist() == [0, 2]


def test_only_background():
    assert possible_labels(_logits((0.99, 0.005, 0.005)), 0.02).tolist() == [0]

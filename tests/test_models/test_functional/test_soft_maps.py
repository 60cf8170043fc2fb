import pytest
import torch

from afa.models.functional import RandomWalk, SoftMaps, resize_maps, soft_masks

CLASS_IDX = torch.tensor([[1, 3], [0, -1]])


class _Doubling:
    """Refines at half the size of the CAMs, whatever it is given."""

    size = (2, 4)

    def __call__(self, masks):
        return 2 * resize_maps(masks, self.size)


class _Flipping:
    """Walks on a grid of its own."""

    grid = (3, 2)

    def __call__(self, masks):
        assert masks.shape[2:] == self.grid
        return masks.flip(3)


def _maker(**steps):
    return SoftMaps(torch.rand(2, 2, 4, 8), CLASS_IDX, **steps)


def _masks(maker, score, size):
    return soft_masks(resize_maps(maker.cams, size), CLASS_IDX, score)


def test_each_score_gives_the_masks_it_gives_alone():
    maker, scores = _maker(refine=_Doubling(), walk=_Flipping()), (0.2, 0.45, 0.9)
    for i, score in enumerate(scores):
        walked = resize_maps(_masks(maker, score, (3, 2)).flip(3), (4, 8))
        for kind, expected in (
            ("cam", _masks(maker, score, (4, 8))),
            ("par", 2 * _masks(maker, score, (2, 4))),  # the softmax behind the resize
            ("propagated", 2 * resize_maps(walked, (2, 4))),
        ):
            masks = maker(kind, scores)
            torch.testing.assert_close(masks[:, i], expected)
            torch.testing.assert_close(masks[:, i], maker(kind, [score])[:, 0])


def test_a_walk_without_refiner_is_not_refined():
    maker = _maker(walk=_Flipping())
    expected = resize_maps(_masks(maker, 0.4, (3, 2)).flip(3), (4, 8))
    assert torch.equal(maker("propagated", [0.4])[:, 0], expected)


def test_a_disc_at_the_border_stays_where_it_is():
    """Tokens lie in the middle of their pixels: aligned corners would move the border outwards."""
    side, token = 96, 8
    at = torch.arange(side) + 0.5
    disc = ((at[:, None] - 48) ** 2 + at[None] ** 2 <= 24**2).float()  # at the left border
    walk = RandomWalk(torch.eye(144)[None], (side // token,) * 2, radius=1)
    maker = SoftMaps(disc[None, None], torch.tensor([[0]]), walk=walk)

    def right_edge(mask):
        """Where the middle row falls below half of its height, in pixels."""
        row = mask[47] - mask.min()
        return int((row > row.max() / 2).sum())

    assert right_edge(disc) == 24
    assert right_edge(maker("propagated", [0.5])[0, 0, 1]) == 24
    tokens = walk(soft_masks(resize_maps(maker.cams, walk.grid), maker.class_idx, 0.5))
    straight = torch.nn.functional.interpolate(
        tokens, size=(side, side), mode="bilinear", align_corners=True
    )
    assert right_edge(straight[0, 1]) <= 22


def test_no_class_at_all_is_background():
    maker = SoftMaps(torch.zeros(1, 0, 2, 2), torch.zeros(1, 0, dtype=torch.long))
    assert torch.equal(maker("cam", [0.3, 0.6]), torch.ones(1, 2, 1, 2, 2))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("par", "no 'par' maps: it has no refiner"),
        ("propagated", "no 'propagated' maps: it has no propagation"),
        ("seg", "kind must be one of cam, par, propagated, got 'seg'"),
    ],
)
def test_a_kind_that_cannot_be_made_is_said(kind, text):
    with pytest.raises(ValueError, match=text):
        _maker()(kind, [0.5])

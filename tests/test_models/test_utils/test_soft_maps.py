import pytest
import torch

from afa.models.utils import SoftMaps, soft_masks

CLASS_IDX = torch.tensor([[1, 3], [0, -1]])


def _double(masks):
    return 2 * masks


def _flipped(masks):
    return masks.flip(3)


def _maker(**steps):
    return SoftMaps(torch.rand(2, 2, 3, 5), CLASS_IDX, **steps)


@pytest.mark.parametrize(
    ("kind", "step"),
    [("cam", lambda m: m), ("par", _double), ("affinity", lambda m: _double(_flipped(m)))],
)
def test_each_score_gives_the_masks_it_gives_alone(kind, step):
    maker, scores = _maker(refine=_double, walk=_flipped), (0.2, 0.45, 0.9)
    masks = maker(kind, scores)
    assert masks.shape == (2, 3, 3, 3, 5)
    for i, score in enumerate(scores):
        assert torch.equal(masks[:, i], step(soft_masks(maker.cams, CLASS_IDX, score)))
        assert torch.equal(masks[:, i], maker(kind, [score])[:, 0])


def test_a_walk_without_refiner_is_not_refined():
    maker = _maker(walk=_flipped)
    expected = soft_masks(maker.cams, CLASS_IDX, 0.4).flip(3)
    assert torch.equal(maker("affinity", [0.4])[:, 0], expected)


def test_no_class_at_all_is_background():
    maker = SoftMaps(torch.zeros(1, 0, 2, 2), torch.zeros(1, 0, dtype=torch.long))
    assert torch.equal(maker("cam", [0.3, 0.6]), torch.ones(1, 2, 1, 2, 2))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("par", "no 'par' maps: it has no refiner"),
        ("affinity", "no 'affinity' maps: it has no propagation"),
        ("seg", "kind must be one of cam, par, affinity, got 'seg'"),
    ],
)
def test_a_kind_that_cannot_be_made_is_said(kind, text):
    with pytest.raises(ValueError, match=text):
        _maker()(kind, [0.5])

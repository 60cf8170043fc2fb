import pytest
import torch
from toy_afa import make_afa

from afa.models.refiners import PAR, Refiner, build_refiner


class _Shift(Refiner):
    """Masks one pixel to the left, as far as an image is bright."""

    def weights(self, images):
        return images[:, :1] / 255

    def refine(self, masks, weights):
        return self.resize(masks, weights).roll(-1, 3) * weights


def test_a_refiner_of_two_methods_refines_sets_and_single_masks():
    images = torch.full((1, 3, 2, 4), 255.0)
    images[..., 3] = 0
    one, two = torch.rand(1, 2, 2, 4), torch.rand(1, 1, 2, 4)
    refiner = _Shift()
    weights = refiner.weights(images)
    sets = refiner.refine_sets([one, two], weights)
    expected = one.roll(-1, 3)
    expected[..., 3] = 0
    assert torch.equal(sets[0], expected) and torch.equal(sets[1], refiner.refine(two, weights))
    assert torch.equal(refiner(images, one), sets[0])


def test_masks_come_to_the_size_of_the_weights_with_corners_aligned():
    masks = torch.tensor([[[[0.0, 1.0]]]])
    assert Refiner.resize(masks, torch.zeros(1, 24, 1, 3)).tolist() == [[[[0, 0.5, 1]]]]


def test_a_refiner_that_lacks_something_is_refused_when_the_model_is_built():
    assert build_refiner(None) is None
    assert isinstance(build_refiner(dict(type="PAR")), PAR)
    text = r"model\.refiner: DenseCRF refines no masks of a batch, it has no weights\(\), re"
    with pytest.raises(ValueError, match=text):
        make_afa(refiner=dict(type="DenseCRF", _delete_=True))

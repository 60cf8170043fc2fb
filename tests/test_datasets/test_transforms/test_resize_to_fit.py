from fractions import Fraction

import numpy as np
import pytest
from mmseg.datasets.transforms import Resize

from afa.datasets import ResizeToFit


def results(height: int, width: int) -> dict:
    image = np.random.randint(0, 256, (height, width, 3), np.uint8)
    return dict(img=image, img_shape=(height, width))


@pytest.mark.parametrize("scale", [(512, 512), (64, 32), (32, 64), (7, 7)])
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (20, 20), (3, 40), (2, 1)])
def test_mmcvs_resize_to_sides_that_are_cut_down(size, scale):
    given = results(*size)
    ours = ResizeToFit(scale)(dict(given))
    ratio = min(Fraction(max(scale), max(size)), Fraction(min(scale), min(size)))
    sides = [max(1, int(side * ratio)) for side in size]
    theirs = Resize(scale=tuple(sides[::-1]))(dict(given))
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert ours["img_shape"] == theirs["img_shape"] == tuple(sides)
    assert ours["scale_factor"] == theirs["scale_factor"]


def test_the_long_side_is_that_of_the_box_whatever_the_photo():
    for long in range(1, 1000, 7):
        assert ResizeToFit((512, 512))(results(1, long))["img_shape"] == (max(1, 512 // long), 512)
    assert ResizeToFit((512, 512))(results(333, 500))["img_shape"] == (340, 512)  # of 340.99


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_no_side_vanishes(size):
    out = ResizeToFit((512, 512))(results(*size))
    assert out["img"].shape == out["img_shape"] + (3,)
    assert out["img_shape"] == tuple(max(1, side * 512 // max(size)) for side in size)


@pytest.mark.parametrize("scale", [(512,), (512, 0), (0.5, 0.5)])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match="two positive integers"):
        ResizeToFit(scale)


def test_repr():
    assert repr(ResizeToFit((8, 9))) == "ResizeToFit(scale=(8, 9))"

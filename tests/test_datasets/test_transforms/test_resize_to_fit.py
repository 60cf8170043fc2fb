import numpy as np
import pytest
from mmseg.datasets.transforms import Resize

from afa.datasets import ResizeToFit


def results(height: int, width: int) -> dict:
    image = np.random.randint(0, 256, (height, width, 3), np.uint8)
    return dict(img=image, img_shape=(height, width))


@pytest.mark.parametrize("scale", [(512, 512), (64, 32), (32, 64), (7, 7)])
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (20, 20), (3, 40), (2, 1)])
def test_same_as_mmcv(size, scale):
    given = results(*size)
    ours = ResizeToFit(scale)(dict(given))
    theirs = Resize(scale=scale, keep_ratio=True)(dict(given))
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert ours["img_shape"] == theirs["img_shape"]
    assert ours["scale_factor"] == theirs["scale_factor"]


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_no_side_vanishes(size):
    out = ResizeToFit((512, 512))(results(*size))
    assert out["img"].shape == out["img_shape"] + (3,)
    assert out["img_shape"] == tuple(max(1, round(side * 512 / max(size))) for side in size)


@pytest.mark.parametrize("scale", [(512,), (512, 0), (0.5, 0.5)])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match="two positive integers"):
        ResizeToFit(scale)


def test_repr():
    assert repr(ResizeToFit((8, 9))) == "ResizeToFit(scale=(8, 9))"

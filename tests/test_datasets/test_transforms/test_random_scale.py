import numpy as np
import pytest

from afa.datasets import RandomScale


def results(height: int = 20, width: int = 30) -> dict:
    return dict(
        img=np.zeros((height, width, 3), np.uint8),
        gt_seg_map=np.arange(height * width).reshape(height, width).astype(np.uint8),
        seg_fields=["gt_seg_map"],
    )


@pytest.mark.parametrize(("ratio", "shape"), [(0.5, (10, 15)), (1.0, (20, 30)), (1.5, (30, 45))])
def test_both_sides_scale_by_the_ratio(ratio, shape):
    out = RandomScale(ratio_range=(ratio, ratio))(results())
    assert out["img"].shape[:2] == out["img_shape"] == out["gt_seg_map"].shape == shape
    np.testing.assert_allclose(out["scale_factor"], (ratio, ratio))


def test_sides_are_cut_down():
    assert RandomScale((0.5, 0.5))(results(21, 33))["img_shape"] == (10, 16)


def test_pillow_averages_what_it_makes_smaller():
    """Lines one pixel wide: every second one is lost, or all become grey."""
    lines = dict(img=np.zeros((8, 40, 3), np.uint8))
    lines["img"][:, 1::4] = 240  # one of four columns: 60 on average
    middle = {}
    for backend in ("cv2", "pillow"):
        image = RandomScale((0.25, 0.25), backend)(dict(lines))["img"]
        assert image.shape == (2, 10, 3)
        middle[backend] = image[:, 2:-2].astype(int)
    assert np.abs(middle["pillow"] - 60).max() <= 15 < np.abs(middle["cv2"] - 60).max()
    with pytest.raises(ValueError, match="backend must be 'cv2' or 'pillow', got 'pil'"):
        RandomScale((0.5, 1), "pil")


def test_ratios_fill_the_range():
    np.random.seed(0)
    transform = RandomScale(ratio_range=(0.5, 2.0))
    heights = [transform(results(100, 10))["img"].shape[0] for _ in range(200)]
    assert 50 <= min(heights) < 60 and 190 < max(heights) <= 200


def test_without_mask():
    out = RandomScale(ratio_range=(2.0, 2.0))(dict(img=np.zeros((4, 5, 3), np.uint8)))
    assert out["img"].shape == (8, 10, 3) and "gt_seg_map" not in out


@pytest.mark.parametrize("ratio_range", [(0, 1), (2, 1), (-1, 1)])
def test_range_is_checked(ratio_range):
    with pytest.raises(ValueError, match="0 < low <= high, got"):
        RandomScale(ratio_range=ratio_range)


def test_repr():
    assert repr(RandomScale((0.5, 2))) == "RandomScale(ratio_range=(0.5, 2.0), backend='cv2')"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_no_side_vanishes(size):
    results = RandomScale((0.3, 0.3))(dict(img=np.full((*size, 3), 7, np.uint8)))
    assert results["img"].shape[:2] == tuple(max(1, int(side * 0.3)) for side in size)
    assert (results["img"] == 7).all()

from fractions import Fraction

import numpy as np
import pytest
from mmseg.datasets.transforms import Resize

from afa.datasets import RandomCropPad, RandomScale, ResizeToFit
from afa.datasets.transforms.geometry import check_mask_sizes


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


def test_repr_of_random_scale():
    assert repr(RandomScale((0.5, 2))) == "RandomScale(ratio_range=(0.5, 2.0), backend='cv2')"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_no_side_vanishes(size):
    results = RandomScale((0.3, 0.3))(dict(img=np.full((*size, 3), 7, np.uint8)))
    assert results["img"].shape[:2] == tuple(max(1, int(side * 0.3)) for side in size)
    assert (results["img"] == 7).all()


def photo(height: int, width: int) -> dict:
    image = np.random.randint(0, 256, (height, width, 3), np.uint8)
    return dict(img=image, img_shape=(height, width))


@pytest.mark.parametrize("scale", [(512, 512), (64, 32), (32, 64), (7, 7)])
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (20, 20), (3, 40), (2, 1)])
def test_mmcvs_resize_to_sides_that_are_cut_down(size, scale):
    given = photo(*size)
    ours = ResizeToFit(scale)(dict(given))
    ratio = min(Fraction(max(scale), max(size)), Fraction(min(scale), min(size)))
    sides = [max(1, int(side * ratio)) for side in size]
    theirs = Resize(scale=tuple(sides[::-1]))(dict(given))
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert ours["img_shape"] == theirs["img_shape"] == tuple(sides)
    assert ours["scale_factor"] == theirs["scale_factor"]


def test_the_long_side_is_that_of_the_box_whatever_the_photo():
    for long in range(1, 1000, 7):
        assert ResizeToFit((512, 512))(photo(1, long))["img_shape"] == (max(1, 512 // long), 512)
    assert ResizeToFit((512, 512))(photo(333, 500))["img_shape"] == (340, 512)  # of 340.99


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_no_side_vanishes_in_a_box(size):
    out = ResizeToFit((512, 512))(photo(*size))
    assert out["img"].shape == out["img_shape"] + (3,)
    assert out["img_shape"] == tuple(max(1, side * 512 // max(size)) for side in size)


@pytest.mark.parametrize("scale", [(512,), (512, 0), (0.5, 0.5)])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match="two positive integers"):
        ResizeToFit(scale)


def test_repr_of_resize_to_fit():
    assert repr(ResizeToFit((8, 9))) == "ResizeToFit(scale=(8, 9))"


def numbered(height: int, width: int) -> dict:
    """An image whose pixels say where they come from: (row, column, 1)."""
    rows, cols = np.mgrid[0:height, 0:width]
    image = np.stack([rows, cols, np.ones_like(rows)], 2).astype(np.uint8)
    return dict(img=image, gt_seg_map=image[..., 0].copy(), seg_fields=["gt_seg_map"])


@pytest.mark.parametrize(
    ("shape", "box_size"), [((9, 8), (4, 6)), ((3, 4), (3, 4)), ((3, 9), (3, 6)), ((4, 6), (4, 6))]
)
def test_box_holds_a_piece_of_the_image_and_the_rest_is_padding(shape, box_size):
    np.random.seed(0)
    transform = RandomCropPad(crop_size=(4, 6), pad_val=(200, 201, 202))
    for _ in range(50):
        out = transform(numbered(*shape))
        assert out["img"].shape == (4, 6, 3) and out["gt_seg_map"].shape == (4, 6)
        assert out["img_shape"] == out["pad_shape"] == (4, 6)
        y0, y1, x0, x1 = out["img_box"]
        assert (y1 - y0, x1 - x0) == box_size
        inside = np.zeros((4, 6), bool)
        inside[y0:y1, x0:x1] = True
        piece = out["img"][y0:y1, x0:x1].astype(int)
        # Neighbouring pixels of the piece were neighbours in the image.
        assert (np.diff(piece[..., 0], axis=0) == 1).all()
        assert (np.diff(piece[..., 1], axis=1) == 1).all()
        assert (out["img"][~inside] == (200, 201, 202)).all()
        np.testing.assert_array_equal(out["gt_seg_map"][inside], out["img"][inside][:, 0])
        assert (out["gt_seg_map"][~inside] == 255).all()


def test_every_place_is_reached():
    np.random.seed(0)
    transform = RandomCropPad(crop_size=4)
    padded = {transform(numbered(3, 2))["img_box"] for _ in range(300)}
    assert padded == {(y, y + 3, x, x + 2) for y in range(2) for x in range(3)}
    cropped = {tuple(transform(numbered(6, 5))["img"][0, 0, :2]) for _ in range(300)}
    assert cropped == {(y, x) for y in range(3) for x in range(2)}


def test_same_seed_same_crop():
    outs = []
    for _ in range(2):
        np.random.seed(3)
        outs.append(RandomCropPad(crop_size=5)(numbered(40, 40))["img"])
    np.testing.assert_array_equal(*outs)


def test_padding_is_black_unless_said_and_rounded_for_eight_bits():
    mean = (103.53, 116.28, 123.675)
    for pad_val, dtype, expected in (
        (0, np.uint8, (0, 0, 0)),
        (mean, np.uint8, (104, 116, 124)),
        (mean, np.float32, mean),
    ):
        given = {} if pad_val == 0 else dict(pad_val=pad_val)
        out = RandomCropPad(crop_size=2, **given)(dict(img=np.full((1, 1, 3), 9, dtype)))["img"]
        pixels = sorted(out.reshape(4, 3).tolist(), key=lambda pixel: pixel != [9, 9, 9])
        assert pixels[0] == [9, 9, 9]
        np.testing.assert_allclose(pixels[1:], [expected] * 3, rtol=1e-6)


def test_the_input_is_left_as_it_is():
    image = numbered(4, 4)["img"]
    out = RandomCropPad(crop_size=4)(dict(img=image))
    out["img"][:] = 0
    assert image.any()


@pytest.mark.parametrize("crop_size", [0, (4, 0), (4, 4, 4), 2.5, (4.0, 4)])
def test_crop_size_is_checked(crop_size):
    with pytest.raises(ValueError, match="crop_size must be a positive integer or two"):
        RandomCropPad(crop_size=crop_size)


def test_repr_names_the_settings():
    assert "crop_size=(3, 4)" in repr(RandomCropPad(crop_size=(3, 4)))


def _with_mask(mask_shape):
    return dict(
        img=np.zeros((6, 8, 3), np.uint8),
        gt_seg_map=np.zeros(mask_shape, np.uint8),
        seg_fields=["gt_seg_map"],
        seg_map_path="masks/a.png",
    )


def test_masks_of_the_size_of_their_photo_pass():
    check_mask_sizes(_with_mask((6, 8)))
    check_mask_sizes(dict(img=np.zeros((6, 8, 3))))  # loaded later, or not at all


@pytest.mark.parametrize(
    "transform", [RandomCropPad(4), RandomScale((1.0, 1.0)), ResizeToFit((4, 4))]
)
def test_every_transform_refuses_others_instead_of_stretching_them(transform):
    with pytest.raises(ValueError, match=r"'masks/a\.png' is 6 x 8 pixels where its photo is 8 x"):
        transform(_with_mask((8, 6)))
    transform(_with_mask((6, 8)))

import numpy as np
import pytest

from afa.datasets import RandomCropPad


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

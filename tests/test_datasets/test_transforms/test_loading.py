import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from afa.datasets import LoadOptionalMask
from afa.datasets.transforms import LoadPhoto, ResizeToFit
from afa.files.label_png import write_label_png
from afa.files.photo import read_photo


@pytest.fixture
def photo(tmp_path):
    """A JPEG of 64 x 48 pixels that is to be turned by a quarter."""
    y, x = np.mgrid[:64, :48]
    pixels = np.dstack([2 * y, 3 * x, 255 - y - x]).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    return str(tmp_path / "a.jpg")


@pytest.mark.parametrize("backend_args", [None, dict(backend="local")])
def test_gives_what_mmcv_gives(photo, backend_args):
    theirs = TRANSFORMS.build(dict(type="LoadImageFromFile"))(dict(img_path=photo))
    ours = TRANSFORMS.build(dict(type="LoadPhoto", backend_args=backend_args))
    found = ours(dict(img_path=photo))
    assert found.keys() == theirs.keys()
    np.testing.assert_array_equal(found["img"], theirs["img"])
    assert found["img_shape"] == found["ori_shape"] == theirs["ori_shape"] == (48, 64)


def test_without_turning(photo):
    transform = LoadPhoto(apply_exif=False, max_pixels=64 * 48)
    found = transform(dict(img_path=photo))
    assert found["ori_shape"] == (64, 48)
    np.testing.assert_array_equal(found["img"], read_photo(photo, apply_exif=False))
    np.testing.assert_array_equal(np.rot90(found["img"], -1), cv2.imread(photo))
    assert "apply_exif=False" in repr(transform)


@pytest.mark.parametrize("backend_args", [None, dict(backend="local")])
def test_limit_and_faults_name_the_file(photo, tmp_path, backend_args):
    transform = LoadPhoto(max_pixels=64 * 48 - 1, backend_args=backend_args)
    with pytest.raises(ValueError, match=r"a\.jpg' has 48 x 64 pixels, more than the 3,071"):
        transform(dict(img_path=photo))
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"b\.jpg' is no picture"):
        transform(dict(img_path=str(tmp_path / "b.jpg")))


# ---- large photos, decoded smaller --------------------------------------------------------------


def _large(path, height, width, orientation=1):
    """A smooth JPEG, whose values a reduced decoding keeps."""
    y, x = np.mgrid[:height, :width]
    pixels = np.dstack([200 * y / height, 200 * x / width, 255 - 100 * (x + y) / (height + width)])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif, quality=95)
    return dict(img_path=str(path))


@pytest.mark.parametrize(
    "height, width, box, reduced",
    [
        (801, 1203, (512, 512), (401, 602)),  # 1/2: at 1/4 it would be smaller than the box
        (801, 1203, (150, 150), (101, 151)),  # 1/8
        (801, 1203, (151, 151), (201, 301)),  # 1/4
        (801, 1203, (700, 700), (801, 1203)),
        (300, 300, (2000, 2000), (300, 300)),
        (300, 900, (1000, 75), (75, 225)),  # the short side decides
    ],
)
def test_large_photos_are_decoded_no_larger_than_needed(tmp_path, height, width, box, reduced):
    info = _large(tmp_path / "a.jpg", height, width)
    whole, found = LoadPhoto()(dict(info)), LoadPhoto(fit=box)(dict(info))
    assert found["ori_shape"] == whole["ori_shape"] == (height, width)
    assert found["img"].shape[:2] == found["img_shape"] == reduced
    resize = ResizeToFit(scale=box)
    ours, theirs = resize(found)["img"], resize(whole)["img"]
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("apply_exif", [True, False])
def test_reduced_photos_are_turned_and_know_their_size(tmp_path, orientation, apply_exif):
    info = _large(tmp_path / "a.jpg", 403, 290, orientation)
    whole = LoadPhoto(apply_exif)(dict(info))
    found = LoadPhoto(apply_exif, fit=(50, 50))(dict(info))
    assert found["ori_shape"] == whole["ori_shape"]
    assert max(found["img"].shape[:2]) == 51
    resize = ResizeToFit(scale=(50, 50))
    difference = resize(found)["img"].astype(int) - resize(whole)["img"]
    assert np.abs(difference).max() <= 8


def test_other_kinds_are_decoded_whole(tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    Image.new("CMYK", (400, 300)).save(tmp_path / "b.jpg")
    for name in ("a.png", "b.jpg"):
        found = LoadPhoto(fit=(50, 50))(dict(img_path=str(tmp_path / name)))
        assert found["img_shape"] == found["ori_shape"] == (300, 400)


def test_a_box_smaller_than_the_resize_is_refused(tmp_path):
    info = _large(tmp_path / "a.jpg", 400, 400)
    load = LoadPhoto(fit=(50, 50), apply_exif=False)
    with pytest.raises(ValueError, match=r"at 50 x 50 only, .* give LoadPhoto fit=\(60, 60\)"):
        ResizeToFit(scale=(60, 60))(load(dict(info)))
    assert load.whole()(dict(info))["img_shape"] == (400, 400) and load.whole().apply_exif is False


@pytest.mark.parametrize("fit", [512, (5,), (0, 9), "50"])
def test_a_box_is_two_sides(fit):
    with pytest.raises(ValueError, match="fit must be width and height"):
        LoadPhoto(fit=fit)


MASK = np.array([[0, 1, 2], [255, 0, 2]], np.uint8)


def results(tmp_path, mask=MASK, **more):
    write_label_png(tmp_path / "m.png", mask)
    return dict(seg_map_path=str(tmp_path / "m.png"), ori_shape=mask.shape, seg_fields=[], **more)


def test_values_are_as_stored(tmp_path):
    assert TRANSFORMS.get("LoadOptionalMask") is LoadOptionalMask
    out = LoadOptionalMask()(results(tmp_path))
    np.testing.assert_array_equal(out["gt_seg_map"], MASK)
    assert out["seg_fields"] == ["gt_seg_map"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_a_side_of_one_pixel_stays_a_side(shape, tmp_path):
    out = LoadOptionalMask()(results(tmp_path, np.ones(shape, np.uint8)))
    assert out["gt_seg_map"].shape == shape


def test_without_mask_nothing_happens():
    given = dict(img=1)
    assert LoadOptionalMask()(given) == dict(img=1)


def test_label_map(tmp_path):
    out = LoadOptionalMask()(results(tmp_path, label_map={0: 0, 1: 255, 2: 1}))
    np.testing.assert_array_equal(out["gt_seg_map"], [[0, 255, 1], [255, 0, 1]])


def test_other_size(tmp_path):
    given = results(tmp_path)
    given["ori_shape"] = (3, 2)
    with pytest.raises(ValueError, match=r"m\.png' is 3 x 2 pixels, its photo 2 x 3:"):
        LoadOptionalMask()(given)


def test_colours_are_no_labels(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="must be an indexed or 8-bit grey PNG"):
        LoadOptionalMask()(dict(seg_map_path=tmp_path / "c.png", ori_shape=(2, 3)))

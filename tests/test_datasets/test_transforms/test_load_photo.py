import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from PIL import Image

from afa.datasets.transforms import LoadPhoto, read_photo


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
    init_default_scope("mmseg")
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

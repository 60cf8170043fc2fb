import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from afa.datasets import LoadOptionalMask
from afa.files.label_png import write_label_png

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

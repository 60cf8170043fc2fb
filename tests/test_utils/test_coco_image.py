from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_coco import HEIGHT, WIDTH, box, runs

from afa.utils import coco_image
from afa.utils.coco_image import prepare_image
from afa.utils.coco_mask import Region
from afa.utils.label_png import read_label_png

REGIONS = [Region(3, False, [box(2, 2, 12, 9)]), Region(1, True, runs((0, 30, 0, 20)))]


@pytest.fixture
def prepare(tmp_path):
    """Prepare the image ``a`` of 40 x 30 pixels."""

    def call(regions=REGIONS, **kwargs):
        folders = dict(photos=tmp_path, masks=tmp_path)
        return prepare_image("a", HEIGHT, WIDTH, regions, **folders, **kwargs)

    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg")
    return call


def truth(value: int) -> np.ndarray:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[:, :20] = value
    label[2:9, 2:12] = 3
    return label


def test_label_map_is_drawn_once_and_redrawn_if_not_whole(prepare, tmp_path):
    path = tmp_path / "a.png"
    assert prepare() == (True, "")
    np.testing.assert_array_equal(read_label_png(path), truth(1))
    before = path.stat().st_mtime_ns
    assert prepare() == (False, "") and path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-5])
    assert prepare() == (True, "")
    np.testing.assert_array_equal(read_label_png(path), truth(1))
    Image.new("P", (WIDTH, HEIGHT + 1)).save(path)
    assert prepare() == (True, "")
    with Image.open(path) as image:
        assert image.mode == "P" and image.getpalette()[3:6] == [128, 0, 0]


def test_crowds_as_asked(prepare, tmp_path):
    prepare(crowd="ignore")
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png"), truth(255))


def test_the_stored_size_of_a_photo_counts_not_its_exif_rotation(prepare, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg", exif=exif)
    assert prepare() == (True, "")


def test_faults_are_told_and_nothing_is_written(prepare, tmp_path):
    made, fault = prepare([Region(1, False, [[1, 2, 3]])])
    assert not made and "x and y by turns" in fault
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "a.jpg")
    assert prepare() == (False, "its photo has 30x40 pixels, its annotations 40x30")
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    assert prepare() == (False, "its photo cannot be read")
    (tmp_path / "a.jpg").unlink()
    assert prepare() == (False, "its photo cannot be read")
    assert not list(tmp_path.iterdir())


def test_a_changed_photo_is_noticed_although_its_label_map_is_there(prepare, tmp_path):
    prepare()
    Image.new("RGB", (WIDTH, 5)).save(tmp_path / "a.jpg")
    assert "its photo has 40x5 pixels" in prepare().fault


def test_a_disk_that_loses_what_was_written(prepare, monkeypatch):
    monkeypatch.setattr(coco_image, "write_label_png", lambda path, label: None)
    with pytest.raises(OSError, match=r"a\.png' was written and is not whole: check the disk"):
        prepare()


def test_an_id_that_leaves_the_folder_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="no name inside a folder"):
        prepare_image("../a", 3, 4, [], photos=Path(tmp_path), masks=tmp_path / "masks")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from toy_coco import HEIGHT, WIDTH, box, runs

from afa.files import coco_mask
from afa.files.coco_mask import (
    Region,
    draw_label,
    draw_missing_mask,
    encode_segmentation,
    expand_counts,
)
from afa.files.label_png import read_label_png


def draw(*regions: tuple, height: int = HEIGHT, width: int = WIDTH, **kwargs) -> np.ndarray:
    return draw_label([Region(*region) for region in regions], height, width, **kwargs)


def test_a_hand_made_case():
    ring = [1, 1, 3, 1, 3, 3, 1, 3]  # two by two pixels
    got = draw((5, False, [ring]), height=4, width=5)
    assert got.dtype == np.uint8
    assert got.tolist() == [[0] * 5, [0, 5, 5, 0, 0], [0, 5, 5, 0, 0], [0] * 5]
    counts = {"counts": [1, 2, 4, 1, 12], "size": [4, 5]}  # down the columns
    got = draw((80, True, counts), height=4, width=5)
    assert got.tolist() == [[0] * 5, [80, 0, 0, 0, 0], [80, 0, 0, 0, 0], [0, 80, 0, 0, 0]]


@pytest.mark.parametrize("order", [1, -1])
def test_the_smaller_object_is_on_top_whatever_the_order(order):
    regions = [(1, False, [box(0, 0, 30, 20)]), (2, False, [box(5, 5, 10, 10)])]
    got = draw(*regions[::order])
    assert (got[5:10, 5:10] == 2).all() and (got == 1).sum() == 30 * 20 - 25


def test_of_two_equals_the_first_is_on_top():
    got = draw((1, False, [box(0, 0, 10, 10)]), (2, False, [box(5, 5, 15, 15)]))
    assert (got[5:10, 5:10] == 1).all() and (got == 2).sum() == 75


def test_crowds_are_below_all_objects_and_can_be_ignored():
    regions = [(3, True, runs((5, 8, 5, 8))), (1, False, [box(6, 6, 30, 20)])]
    got = draw(*regions)
    assert (got == 3).sum() == 9 - 4 and (got[6:8, 6:8] == 1).all()
    ignored = draw(*regions, crowd="ignore")
    np.testing.assert_array_equal(ignored, np.where(got == 3, 255, got))
    with pytest.raises(ValueError, match="'class' or 'ignore', got 'keep'"):
        draw(crowd="keep")


def test_rings_of_one_object_join_and_those_without_area_add_nothing():
    got = draw((1, False, [box(0, 0, 4, 4), box(2, 2, 6, 6), [9, 9, 20, 20], [7, 7], []]))
    assert (got == 1).sum() == 16 + 16 - 4
    assert not draw((1, False, [[3, 3, 20, 20]]), (2, False, []), (3, False, [[4] * 6])).any()


def test_what_hangs_over_the_edge_is_cut_off():
    assert (draw((1, False, [box(-WIDTH, -HEIGHT, 2 * WIDTH, 2 * HEIGHT)])) == 1).all()
    assert (draw((1, False, [box(35, -5, 45, 10)])) == 1).sum() == 5 * 10


def test_compressed_runs_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    for height, width, share in [(1, 1, 0), (1, 1, 1), (3, 5, 0.5), (200, 300, 0.01), (70, 9, 0.9)]:
        mask = np.asfortranarray((rng.random((height, width)) < share).astype(np.uint8))
        counts = mask_utils.encode(mask)["counts"].decode()
        expanded = expand_counts(counts)
        values = np.repeat(np.arange(len(expanded)) % 2, expanded)
        np.testing.assert_array_equal(values.reshape(width, height).T, mask)
        code = encode_segmentation({"counts": counts, "size": [height, width]}, height, width)
        np.testing.assert_array_equal(mask_utils.decode(code), mask)


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        (None, "neither a list of rings"),
        ("x", "neither a list of rings"),
        ({"counts": [1]}, "neither a list of rings"),
        ([[1, 2, 3, 4, 5]], "x and y by turns"),
        ([1, 2, 3, 4, 5, 6], "x and y by turns"),
        ([["1", 2, 3, 4, 5, 6]], "x and y by turns"),
        ([[None, 2, 3, 4, 5, 6]], "x and y by turns"),
        ([[True, 2, 3, 4, 5, 6]], "x and y by turns"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "far outside of the 40x30 image"),
        ([[float("inf"), 2, 3, 4, 5, 6]], "far outside"),
        ([[1, 2, 3, 1e300, 5, 6]], "far outside"),
        ([[-41, 2, 3, 4, 5, 6]], "far outside"),
        ({"counts": [1200], "size": [40, 30]}, r"size \[40, 30\], not \[30, 40\]"),
        ({"counts": [1199], "size": [30, 40]}, "runs that do not fill 40x30 pixels"),
        ({"counts": [1200, 5], "size": [30, 40]}, "do not fill"),
        ({"counts": [-5, 1205], "size": [30, 40]}, "do not fill"),
        ({"counts": [1200.0], "size": [30, 40]}, "do not fill"),
        ({"counts": None, "size": [30, 40]}, "do not fill"),
        ({"counts": "", "size": [30, 40]}, "do not fill"),
        ({"counts": "1", "size": [30, 40]}, "do not fill"),
        ({"counts": "\x7f", "size": [30, 40]}, "compressed mask that cannot be read"),
        ({"counts": "é", "size": [30, 40]}, "compressed mask that cannot be read"),
        ({"counts": "o" * 50, "size": [30, 40]}, "compressed mask that cannot be read"),
        ({"counts": "oo", "size": [30, 40]}, "compressed mask that is cut off"),
    ],
)
def test_malformed_segmentations_never_reach_the_c_code(segmentation, text):
    with pytest.raises(ValueError, match=text):
        encode_segmentation(segmentation, HEIGHT, WIDTH)


REGIONS = [Region(3, False, [box(2, 2, 12, 9)]), Region(1, True, runs((0, 30, 0, 20)))]


@pytest.fixture
def prepare(tmp_path):
    """Prepare the image ``a`` of 40 x 30 pixels."""

    def call(regions=REGIONS, **kwargs):
        folders = dict(photos=tmp_path, masks=tmp_path)
        return draw_missing_mask("a", HEIGHT, WIDTH, regions, **folders, **kwargs)

    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg")
    return call


def truth(value: int) -> np.ndarray:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[:, :20] = value
    label[2:9, 2:12] = 3
    return label


def test_label_map_is_drawn_once_and_redrawn_if_not_whole(prepare, tmp_path):
    path = tmp_path / "a.png"
    assert prepare() == (True, "", 0)
    np.testing.assert_array_equal(read_label_png(path), truth(1))
    before = path.stat().st_mtime_ns
    assert prepare() == (False, "", 0) and path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-5])
    assert prepare() == (True, "", 0)
    np.testing.assert_array_equal(read_label_png(path), truth(1))
    Image.new("P", (WIDTH, HEIGHT + 1)).save(path)
    assert prepare() == (True, "", 0)
    with Image.open(path) as image:
        assert image.mode == "P" and image.getpalette()[3:6] == [128, 0, 0]


def test_crowds_as_asked(prepare, tmp_path):
    prepare(crowd="ignore")
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png"), truth(255))


def test_the_stored_size_of_a_photo_counts_not_its_exif_rotation(prepare, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg", exif=exif)
    assert prepare() == (True, "", 0)


def test_faults_are_told_and_nothing_is_written(prepare, tmp_path):
    made, fault, _ = prepare([Region(1, False, [[1, 2, 3]])])
    assert not made and "x and y by turns" in fault
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "a.jpg")
    assert prepare() == (False, "its photo has 30x40 pixels, its annotations 40x30", 0)
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    assert prepare() == (False, "its photo cannot be read", 0)
    (tmp_path / "a.jpg").unlink()
    assert prepare() == (False, "its photo cannot be read", 0)
    assert not list(tmp_path.iterdir())


def test_a_changed_photo_is_noticed_although_its_label_map_is_there(prepare, tmp_path):
    prepare()
    Image.new("RGB", (WIDTH, 5)).save(tmp_path / "a.jpg")
    assert "its photo has 40x5 pixels" in prepare().fault


def test_a_disk_that_loses_what_was_written(prepare, monkeypatch):
    monkeypatch.setattr(coco_mask, "write_label_png", lambda path, label: None)
    with pytest.raises(OSError, match=r"a\.png' was written and is not whole: check the disk"):
        prepare()


def test_an_id_that_leaves_the_folder_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="no name inside a folder"):
        draw_missing_mask("../a", 3, 4, [], photos=Path(tmp_path), masks=tmp_path / "masks")


def test_annotations_without_a_pixel_are_counted(prepare):
    blank = [[], [[5, 5]], [[8, 8, 8, 8, 8, 8]], runs()]
    found = prepare([*REGIONS, *(Region(2, False, one) for one in blank)])
    assert found.made and found.num_blank == 4

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from afa.datasets import ShapesDataset
from afa.datasets.shapes import SETTINGS_FILE, write_shapes
from afa.datasets.shapes_generator import CLASSES, PALETTE, generate_sample


def make(root, split: str) -> ShapesDataset:
    return ShapesDataset(
        data_root=str(root),
        ann_file=f"ImageSets/Segmentation/{split}.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="Annotations",
        pipeline=[dict(type="LoadPhoto"), dict(type="LoadAnnotations")],
    )


def test_image_labels_are_the_classes_of_the_mask(tmp_path):
    write_shapes(tmp_path, num_train=4, num_val=2, size=64)
    for split, count in (("train", 4), ("val", 2)):
        dataset = make(tmp_path, split)
        assert len(dataset) == count
        for sample in dataset:
            present = np.setdiff1d(np.unique(sample["gt_seg_map"]), [0])
            np.testing.assert_array_equal(sample["gt_label"].nonzero()[0] + 1, present)


def test_missing_set_says_how_to_make_it(tmp_path):
    with pytest.raises(ValueError, match=r"tools/dataset_converters/shapes\.py"):
        make(tmp_path, "train")


SMALL = dict(num_train=3, num_val=2, seed=1, size=64)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    assert write_shapes(root, **SMALL)
    return root


def test_layout_is_that_of_voc(shapes):
    lists = shapes / "ImageSets" / "Segmentation"
    assert (lists / "train.txt").read_text() == "train_00000\ntrain_00001\ntrain_00002\n"
    assert (lists / "val.txt").read_text() == "val_00000\nval_00001\n"
    for folder in ("JPEGImages", "Annotations", "SegmentationClassAug"):
        assert len(list((shapes / folder).iterdir())) == 5


def test_files_hold_the_sample(shapes):
    sample = generate_sample(1, "val", 1, size=64)
    with Image.open(shapes / "SegmentationClassAug" / "val_00001.png") as png:
        assert png.mode == "P"
        assert png.getpalette()[: 3 * len(CLASSES)] == [v for rgb in PALETTE for v in rgb]
        np.testing.assert_array_equal(np.array(png), sample.mask)
    jpeg = cv2.imread(str(shapes / "JPEGImages" / "val_00001.jpg")).astype(int)
    error, swapped = (np.abs(jpeg - sample.image[..., ::step]).mean() for step in (1, -1))
    assert error < 10 < swapped  # JPEG's own error, and the order of the channels
    root = ElementTree.parse(shapes / "Annotations" / "val_00001.xml").getroot()
    assert [node.findtext("name") for node in root.iter("object")] == [
        obj.name for obj in sample.objects
    ]
    box = root.find("object/bndbox")
    y0, y1, x0, x1 = sample.objects[0].box
    got = [int(box.findtext(key)) for key in ("ymin", "ymax", "xmin", "xmax")]
    assert got == [y0 + 1, y1, x0 + 1, x1]
    assert (root.findtext("size/height"), root.findtext("size/width")) == tuple(
        str(side) for side in sample.mask.shape
    )


def test_same_seed_same_bytes_with_any_number_of_workers(shapes, tmp_path):
    write_shapes(tmp_path / "again", **SMALL, workers=3)
    assert contents(tmp_path / "again") == contents(shapes)


def test_progress_is_reported(tmp_path):
    calls = []
    write_shapes(tmp_path / "a", **SMALL, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_complete_set_is_left_alone(shapes):
    before = {path: path.stat().st_mtime_ns for path in shapes.rglob("*")}
    assert not write_shapes(shapes, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in shapes.rglob("*")}


def test_interrupted_set_has_no_lists_and_is_made_again(shapes, tmp_path):
    root = tmp_path / "set"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes(root, **SMALL, progress=stop)
    assert not list((root / "ImageSets" / "Segmentation").iterdir())
    assert write_shapes(root, **SMALL)
    assert contents(root) == contents(shapes)


@pytest.mark.parametrize("name", ["JPEGImages/val_00000.jpg", "ImageSets/Segmentation/val.txt"])
def test_a_missing_file_is_noticed(tmp_path, name):
    root = tmp_path / "set"
    write_shapes(root, **SMALL)
    (root / name).unlink()
    assert write_shapes(root, **SMALL)
    assert (root / name).is_file()


def test_other_settings_are_refused_unless_overwritten(tmp_path):
    root = tmp_path / "set"
    write_shapes(root, **SMALL)
    (root / "JPEGImages" / "mine.jpg").write_bytes(b"mine")
    smaller = dict(SMALL, num_train=1)
    with pytest.raises(ValueError, match=r"num_train is 3, not 1.*--overwrite"):
        write_shapes(root, **smaller)
    assert write_shapes(root, **smaller, overwrite=True)
    names = sorted(path.name for path in (root / "JPEGImages").iterdir())
    assert names == ["mine.jpg", "train_00000.jpg", "val_00000.jpg", "val_00001.jpg"]
    assert json.loads((root / "shapes.json").read_text())["num_train"] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_something_else_is_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not a Shapes set"):
        write_shapes(tmp_path, **SMALL, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset": "Other"}'])
def test_an_unreadable_settings_file_is_not_a_set(tmp_path, text):
    (tmp_path / SETTINGS_FILE).write_text(text)
    with pytest.raises(ValueError, match="not a Shapes set"):
        write_shapes(tmp_path, **SMALL)


def test_an_empty_folder_is_fine(tmp_path):
    assert write_shapes(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("name", "value"), [("num_train", 0), ("num_val", -1), ("seed", -1), ("size", 10)]
)
def test_numbers_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"{name.replace('_', '-')} must lie in .* got {value}"):
        write_shapes(tmp_path / "set", **dict(SMALL, **{name: value}))
    assert not (tmp_path / "set").exists()

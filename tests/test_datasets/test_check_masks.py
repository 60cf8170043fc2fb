import cv2
import numpy as np
import pytest

from afa.datasets.check import check_datasets
from afa.files.label_png import write_label_png


@pytest.fixture
def own(tmp_path):
    """The entry of six photos of one's own: cat, dog, both, cat, dog, nothing."""
    root = tmp_path / "own"
    (root / "masks").mkdir(parents=True)
    lines = ["photo,labels,split"]
    for number, labels in enumerate(["cat", "dog", "cat;dog", "cat", "dog", ""]):
        cv2.imwrite(str(root / f"{number}.jpg"), np.full((6, 8, 3), 9, np.uint8))
        lines.append(f"{number}.jpg,{labels},train")
    (root / "labels.csv").write_text("\n".join(lines))
    return dict(
        type="OwnPhotosDataset",
        data_root=str(root),
        data_prefix=dict(img_path="", seg_map_path="masks"),
    )


@pytest.fixture
def check(own, tmp_path):
    """Write masks with some values each, and check the set."""

    def run(*values, **changes):
        for number, some in enumerate(values):
            mask = np.resize(np.array(some, np.uint8), (6, 8))
            write_label_png(tmp_path / "own/masks" / f"{number}.png", mask)
        return check_datasets(dict(train=dict(own, **changes)))

    return run


RIGHT = [[0, 1], [2], [1, 2, 255], [0, 1, 255], [0, 2], [0, 255]]


def test_masks_that_agree(check):
    report = check(*RIGHT)
    assert report.fit and report.notes.found == {}
    assert report.splits["train"].num_masks == 6


def test_some_masks_that_differ_are_named(check, tmp_path):
    report = check([0, 2], [0], [0, 255], *RIGHT[3:])
    path = tmp_path / "own/masks"
    assert report.fit and report.notes.found == {
        "mask and labels differ": [
            f"'{path}/0.png' has dog, the labels say cat.",
            f"'{path}/1.png' has no class, the labels say dog.",
        ],
        "only 0 and 255": [f"'{path}/2.png', where the labels say cat, dog: 255 is not counted."],
    }


def test_masks_of_0_and_255_are_not_fit(check):
    report = check(*[[0, 255]] * 6)
    assert report.faults.found == {
        "masks against labels": [
            "5 of 6 masks of train do not have the classes of their image labels: they have only 0 "
            "and 255, which is not counted: give objects their number. Masks have the values 0 "
            "background, 1 cat, 2 dog, and 255 for what is not counted."
        ]
    }
    assert len(report.notes.found["only 0 and 255"]) == 5


def test_masks_numbered_in_another_way_are_not_fit(check):
    report = check([0, 2], [0, 1], [1, 2], [0, 2], [0, 1], [0])
    (sentence,) = report.faults.found["masks against labels"]
    assert "4 of 6 masks of train" in sentence and "see how they were numbered" in sentence


def test_a_photo_without_labels_has_nothing_in_its_mask(check):
    report = check(*RIGHT[:5], [0, 1])
    (note,) = report.notes.found["mask and labels differ"]
    assert note.endswith("5.png' has cat, the labels say no class.")


def test_masks_with_faults_of_their_own_are_not_compared(check):
    assert set(check(*RIGHT[:5], [0, 3]).faults.found) == {"mask value"}


def test_masks_whose_numbers_are_shifted_are_not_compared(check):
    assert check(*[[1]] * 6, reduce_zero_label=True).notes.count == 0


def test_files_of_masks_that_nobody_reads_are_named(check, tmp_path):
    masks = tmp_path / "own/masks"
    (masks / "sub").mkdir()
    for name in ("7.png", "0.JPG", "5.tif", "sub/x.jpg", "._1.png", "Thumbs.db", "0.jpg.png"):
        (masks / name).write_bytes(b"x")
    report = check(*RIGHT[:5])
    folder = f"{tmp_path}/own/"
    assert report.fit and report.notes.found == {
        "mask without photo": [
            f"'{masks}/0.jpg.png' has the name of no photo in '{folder}'.",
            f"'{masks}/7.png' has the name of no photo in '{folder}'.",
            f"'{masks}/sub/x.jpg' has the name of no photo in '{folder}'.",
        ],
        "mask of another kind": [f"'{masks}/5.tif' is not read: masks end in .png."],
    }


def test_masks_beside_their_photos_are_no_strays(check):
    report = check(data_prefix=dict(img_path="", seg_map_path=""))
    assert set(report.notes.found) == set()


def test_a_set_with_lists(tree):
    entry = dict(
        type="WSSSDataset",
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img", seg_map_path="mask"),
        metainfo=dict(classes=("background", "cat", "bus", "dog")),
        image_labels="labels.json",
    )
    (tree / "mask/c.tif").write_bytes(b"x")  # beside a good one: somebody's source
    (tree / "mask/d.png").write_bytes(b"x")
    report = check_datasets(dict(train=entry))
    found = dict(report.notes.found)
    assert "set the background scores to 0" in found.pop("no background")[0]
    assert report.fit and found == {
        "mask without photo": [f"'{tree}/mask/d.png' has the name of no photo in '{tree}/img'."],
        "mask and labels differ": [f"'{tree}/mask/b.png' has bus, the labels say bus, dog."],
    }


def test_masks_hold_the_values_of_all_classes_where_the_config_takes_some(tree):
    entry = dict(
        type="VOC12Dataset",
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img", seg_map_path="mask"),
        metainfo=dict(classes=("background", "dog", "cat")),
        image_labels="labels.json",
    )
    for name, value in (("a", 8), ("b", 12)):  # cat and dog of VOC
        write_label_png(tree / f"mask/{name}.png", np.full((6, 8), value, np.uint8))
    report = check_datasets(dict(train=entry))
    assert report.fit and "mask and labels differ" not in report.notes.found


def test_masks_without_background_are_said(check):
    report = check([1], [2], [1, 2, 255], [1, 255], [2])
    assert report.fit and list(report.notes.found) == ["no background"]
    assert "set the background scores to 0" in report.notes.found["no background"][0]

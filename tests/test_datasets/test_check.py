import json

import cv2
import numpy as np
import pytest

from afa.datasets.check import (
    DataReport,
    SplitSummary,
    check_datasets,
    report_lines,
    write_data_report,
)
from afa.files.label_png import write_label_png

CLASSES = ("background", "cat", "dog", "bus")
MASKED = [dict(type="LoadPhoto"), dict(type="LoadAnnotations")]


def voc(tree, **changes):
    """The entry of a data set in the layout of VOC, over the made-up tree of these tests."""
    return dict(
        type="WSSSDataset",
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img", seg_map_path="mask"),
        metainfo=dict(classes=CLASSES),
        image_labels="labels.json",
        **changes,
    )


@pytest.fixture
def own(tmp_path):
    """The entry of ten photos of one's own, of which eight are for training."""
    root = tmp_path / "own"
    (root / "masks").mkdir(parents=True)
    lines = ["photo,labels,split"]
    for number in range(10):
        cv2.imwrite(str(root / f"{number}.jpg"), np.full((20, 30, 3), 9, np.uint8))
        lines.append(f"{number}.jpg,cat,{'val' if number > 7 else 'train'}")
    lines[1] = "0.jpg,cat;dog,train"
    lines[2] = "1.jpg,,train"
    (root / "labels.csv").write_text("\n".join(lines))
    return dict(
        type="OwnPhotosDataset",
        data_root=str(root),
        data_prefix=dict(img_path="", seg_map_path="masks"),
    )


def lines(report, kind):
    return report.faults.found.get(kind, [])


def test_fit_data_and_their_counts(own):
    seen = []
    entries = dict(
        train=dict(own, split="train"), val=dict(own, split="val"), test=dict(own, split="val")
    )
    report = check_datasets(entries, progress=lambda *numbers: seen.append(numbers))
    assert report.fit and report.notes.found == {
        "class without photo": ["No photo of val, test has 'dog'."]
    }
    assert list(report.splits) == ["train", "val, test"]
    assert seen[-1] == (10, 10) and len(seen) == 10
    train = report.splits["train"]
    assert train.num_photos == 8 and train.num_masks == 0
    assert train.photos_of_class == dict(cat=7, dog=1)
    assert train.photos_of_num_labels == {0: 1, 1: 6, 2: 1}
    assert train.three_sizes() == dict.fromkeys(("smallest", "median", "largest"), (20, 30))


def test_every_fault_of_photos_and_masks_is_listed(own, tmp_path):
    root = tmp_path / "own"
    for number in (0, 1):
        data = (root / f"{number}.jpg").read_bytes()
        (root / f"{number}.jpg").write_bytes(data[: len(data) // 2])
    (root / "2.jpg").write_bytes(b"text")
    (root / "3.jpg").unlink()
    (root / "4.jpg").unlink()
    (root / "extra.JPG").write_bytes(b"x")
    write_label_png(root / "masks" / "5.png", np.zeros((30, 20), np.uint8))
    write_label_png(root / "masks" / "6.png", np.full((20, 30), 3, np.uint8))
    (root / "masks" / "7.png").write_bytes(b"x")
    report = check_datasets(dict(train=dict(own, split="train")))
    assert not report.fit
    assert {kind: len(found) for kind, found in report.faults.found.items()} == {
        "missing photo": 2,
        "unreadable photo": 3,
        "mask size": 1,
        "mask value": 1,
        "unreadable mask": 1,
    }
    for fault in (fault for found in report.faults.found.values() for fault in found):
        assert "\n" not in fault
    assert "0.jpg' is truncated" in lines(report, "unreadable photo")[0]
    assert lines(report, "missing photo")[1] == f"'4.jpg' is not in '{root}/'"
    assert report.notes.found["photo without labels"] == [
        f"The labels do not name '{root / 'extra.JPG'}'."
    ]


def test_faults_of_an_own_labels_file_are_listed_once(own, tmp_path):
    path = tmp_path / "own" / "labels.csv"
    path.write_text(path.read_text() + "\n9.jpg,dog,val\n8.png,dog,valid\n../x.jpg,dog,val")
    (tmp_path / "own" / "classes.txt").write_text("cat\ncats\n")
    report = check_datasets(dict(train=dict(own, split="train"), val=dict(own, split="val")))
    assert {kind: len(found) for kind, found in report.faults.found.items()} == {
        "photo named twice": 2,
        "photo name": 1,
        "unknown class": 1,
    }
    assert report.notes.found["alike classes"] == ["'cat' and 'cats': if one is a slip, mend it."]


def test_labels_that_cannot_be_read_at_all(own, tmp_path):
    (tmp_path / "own" / "labels.csv").write_text("a.jpg,cat\n")
    report = check_datasets(dict(train=dict(own, split="train")))
    (sentence,) = lines(report, "list or labels")
    assert sentence.startswith("The first line of '") and report.splits == {}


def test_every_fault_of_a_set_with_lists_is_told(tree):
    (tree / "split.txt").write_text("a\nb\nc\nb\nd\nnot one id\n")
    (tree / "labels.json").write_text(
        json.dumps({"a": ["cat", "dgo"], "b": [], "gone": ["bus"], "x": 3})
    )
    (tree / "mask" / "b.png").unlink()
    report = check_datasets(dict(train=voc(tree, pipeline=MASKED)))
    assert {kind: len(found) for kind, found in report.faults.found.items()} == {
        "split file": 2,
        "missing image": 1,
        "missing mask": 1,
        "labels file": 1,
        "unknown class": 1,
        "photo without labels": 2,
    }
    assert "did you mean 'dog'" in lines(report, "unknown class")[0]
    assert report.notes.found["labels without photo"] == [
        f"'gone' in '{tree}/labels.json' has no photo."
    ]
    assert report.splits["train"].num_photos == 3


def test_annotations_in_xml(tree):
    (tree / "split.txt").write_text("a\nb\nc\n")
    (tree / "xml" / "a.xml").write_text("<annotation>")
    (tree / "xml" / "b.xml").write_text("<annotation></annotation>")
    cv2.imwrite(str(tree / "mask" / "c.png"), np.full((6, 8), 2, np.uint8))
    (tree / "xml" / "stray.xml").write_text("<annotation></annotation>")
    report = check_datasets(dict(train=dict(voc(tree), image_labels="xml")))
    assert "Malformed annotation" in lines(report, "annotation")[0]
    assert "no <object>" in lines(report, "photo without labels")[0]
    assert report.faults.count == 2
    assert report.notes.found["labels without photo"] == [f"'stray' in '{tree}/xml' has no photo."]


def test_labels_of_one_file_for_two_folders_of_photos(tree):
    (tree / "val").mkdir()
    (tree / "img" / "c.jpg").rename(tree / "val" / "c.jpg")
    (tree / "val.txt").write_text("c\n")
    val = dict(voc(tree), ann_file="val.txt", data_prefix=dict(img_path="val"))
    report = check_datasets(dict(train=voc(tree), val=val))
    assert report.fit and "labels without photo" not in report.notes.found


def test_photo_in_two_splits_and_missing_folder(tree):
    (tree / "val.txt").write_text("a\n")
    report = check_datasets(dict(train=voc(tree), val=dict(voc(tree), ann_file="val.txt")))
    assert report.notes.found["photo in two splits"] == [
        f"'{tree / 'img' / 'a.jpg'}' is in train and val."
    ]
    report = check_datasets(dict(train=dict(voc(tree), data_prefix=dict(img_path="pics"))))
    assert "Image folder" in lines(report, "list or labels")[0]


def test_masks_of_some_classes_hold_the_values_of_all(tree):
    from afa.datasets import VOC12Dataset

    entry = voc(tree)
    entry.update(type="VOC12Dataset", image_labels=None)
    entry["metainfo"] = dict(classes=("background", "cat", "dog"))
    cv2.imwrite(str(tree / "mask" / "a.png"), np.full((6, 8), 20, np.uint8))
    assert check_datasets(dict(train=entry)).fit
    cv2.imwrite(str(tree / "mask" / "a.png"), np.full((6, 8), 21, np.uint8))
    (fault,) = lines(check_datasets(dict(train=entry)), "mask value")
    assert f"labels are 0 to {len(VOC12Dataset.METAINFO['classes']) - 1}" in fault


def test_apply_exif_of_the_pipeline_counts(own, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "own" / "5.jpg", exif=exif)
    write_label_png(tmp_path / "own" / "masks" / "5.png", np.ones((20, 30), np.uint8))
    assert not check_datasets(dict(train=own)).fit
    entry = dict(own, pipeline=[dict(type="LoadPhoto", apply_exif=False)])
    report = check_datasets(dict(train=entry))
    assert report.fit and len(report.notes.found["turned photo with a mask"]) == 1


def test_workers_find_what_one_process_finds(tree):
    names = [f"p{number}" for number in range(60)]
    for name in names:
        (tree / "img" / f"{name}.jpg").write_bytes((tree / "img" / "a.jpg").read_bytes())
    (tree / "img" / "p7.jpg").write_bytes(b"x")
    (tree / "split.txt").write_text("\n".join(names))
    (tree / "labels.json").write_text(json.dumps({name: ["cat"] for name in names}))
    alone, many = (check_datasets(dict(train=voc(tree)), num_workers=n) for n in (0, 2))
    assert alone.faults.count == 1 and alone.faults.found == many.faults.found
    assert alone.splits["train"] == many.splits["train"]


def test_data_sets_without_image_labels_are_refused():
    with pytest.raises(ValueError, match="BaseSegDataset cannot be checked"):
        check_datasets(dict(train=dict(type="BaseSegDataset")))


def make():
    report = DataReport()
    report.splits["train"] = SplitSummary(
        num_photos=1200,
        num_masks=3,
        photos_of_class=dict(cat=1000, dog=201),
        photos_of_num_labels={0: 1, 1: 1198, 2: 1},
        sizes=[(20, 30), (1, 1), (400, 300)],
    )
    report.splits["val"] = SplitSummary(photos_of_class=dict(cat=4, dog=5))
    return report


def test_fit():
    lines = report_lines(make())
    assert lines[1] == (
        "train: 1,200 photos, 3 masks; width x height smallest 1 x 1, median 30 x 20, largest "
        "300 x 400; photos by number of labels 0: 1, 1: 1,198, 2: 1"
    )
    table = "\n".join(lines)
    assert "| cat   | 1,000 |   4 |" in table and "| dog   |   201 |   5 |" in table
    assert lines[-1] == "The data are fit." and "Faults" not in table


def test_faults_are_listed_up_to_the_limit():
    report = make()
    for number in range(1005):
        report.faults("missing photo", f"{number} is gone")
    report.faults("mask size", "a is small")
    report.notes("class without photo", "dog")
    text = "\n".join(report_lines(report, limit=2))
    assert "To look at (1):\n  class without photo: dog" in text
    assert "Faults (1,006):\n  missing photo: 0 is gone\n  missing photo: 1 is gone" in text
    assert "missing photo: ... and 1,003 more\n  mask size: a is small" in text
    assert text.endswith("The data are not fit: 1,005 missing photo, 1 mask size.")


def test_json_has_every_fault(tmp_path):
    report = make()
    for number in range(30):
        report.faults("missing photo", f"{number} is gone")
    write_data_report(tmp_path / "r.json", report, "c.py")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["config"] == "c.py" and content["fit"] is False
    assert len(content["faults"]["missing photo"]) == 30 and content["notes"] == {}
    assert content["splits"]["train"]["photos_of_class"] == dict(cat=1000, dog=201)
    assert content["splits"]["train"]["sizes"]["largest"] == [400, 300]

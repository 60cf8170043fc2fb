import unicodedata

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from afa.datasets import OwnPhotosDataset
from afa.datasets.faults import Faults
from afa.files.label_png import distinct_palette, write_label_png

PHOTOS = ("Cat 1.JPG", "sub/Über 2.jpeg", "dog.png", "3.webp", "empty.jpg")
CSV = """photo,labels,split
Cat 1.JPG,cat,train
sub\\Über 2.jpeg,cat;dog,train
dog.png,dog,val
3.webp,dog,val
empty.jpg,,train
"""


@pytest.fixture
def own(tmp_path):
    """Five photos of three kinds; dog.png has a mask."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "masks").mkdir()
    for number, name in enumerate(PHOTOS):
        image = np.full((6, 8, 3), 40 * number, np.uint8)
        suffix = "." + name.rpartition(".")[2].lower()
        (tmp_path / name).write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    write_label_png(tmp_path / "masks" / "dog.png", np.full((6, 8), 2, np.uint8))
    (tmp_path / "labels.csv").write_text(CSV, encoding="utf-8")
    return tmp_path


def make(root, split="train", **changes):
    prefix = dict(img_path="", seg_map_path="masks")
    return OwnPhotosDataset(
        **{"data_root": str(root), "split": split, "data_prefix": prefix, **changes}
    )


def infos(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_samples_of_the_splits(own):
    assert DATASETS.get("OwnPhotosDataset") is OwnPhotosDataset
    dataset = make(own)
    assert dataset.metainfo["classes"] == ("background", "cat", "dog")
    assert dataset.metainfo["palette"] == distinct_palette(3)
    assert [info["img_id"] for info in infos(dataset)] == ["Cat 1", "sub/Über 2", "empty"]
    assert infos(dataset)[1]["img_path"] == str(own / "sub" / "Über 2.jpeg")
    labels = [info["gt_label"].tolist() for info in infos(dataset)]
    assert labels == [[1, 0], [1, 1], [0, 0]]  # the last one has no class: an example of none
    val = infos(make(own, "val"))
    assert [info.get("seg_map_path") for info in val] == [str(own / "masks" / "dog.png"), None]


def test_pipeline_loads_photos_and_the_masks_there_are(own):
    steps = [dict(type=name) for name in ("LoadPhoto", "LoadOptionalMask", "PackWSSSInputs")]
    first, second = make(own, "val", pipeline=steps, test_mode=True)
    assert first["inputs"].shape == (3, 6, 8) and (first["inputs"] == 80).all()
    assert (first["data_samples"].gt_sem_seg.data == 2).all()
    assert "gt_sem_seg" not in second["data_samples"]
    assert second["data_samples"].metainfo["img_id"] == "3"
    # mmseg's transform needs every mask, so that a missing one is told beforehand or by it.
    with pytest.raises(FileNotFoundError):
        steps[1] = dict(type="LoadAnnotations")
        make(own, "val", pipeline=steps, test_mode=True)[1]


@pytest.mark.parametrize("written", ["Cat 1", "Cat 1.jpg", "./Cat 1.JPG"])
def test_suffix_may_be_missing_or_in_other_letters(own, written):
    (own / "labels.csv").write_text(CSV.replace("Cat 1.JPG", written), encoding="utf-8")
    info = infos(make(own))[0]
    assert info["img_path"] == str(own / "Cat 1.JPG") and info["img_id"] == "Cat 1"


def test_accents_of_macos(own):
    decomposed = unicodedata.normalize("NFD", "Über 2.jpeg")
    assert decomposed != "Über 2.jpeg"
    (own / "sub" / "Über 2.jpeg").rename(own / "sub" / decomposed)
    assert infos(make(own))[1]["img_path"] == str(own / "sub" / decomposed)


def test_photos_and_masks_in_folders_of_their_own(own):
    (own / "photos").mkdir()
    for name in PHOTOS:
        (own / "photos" / name).parent.mkdir(exist_ok=True)
        (own / name).rename(own / "photos" / name)
    prefix = dict(img_path="photos")
    dataset = make(own, "val", data_prefix=prefix)
    assert infos(dataset)[0]["img_path"] == str(own / "photos" / "dog.png")
    assert "seg_map_path" not in infos(dataset)[0]


def test_labels_in_json(own):
    (own / "labels.csv").unlink()
    (own / "mine.json").write_text('{"dog.png": {"labels": ["dog"], "split": "test"}}')
    dataset = make(own, "test", image_labels="mine.json")
    assert [info["img_id"] for info in infos(dataset)] == ["dog"]


def test_missing_photos(own):
    (own / "dog.png").unlink()
    (own / "3.webp").unlink()
    with pytest.raises(ValueError, match=r"2 of 2 photos of '.*labels\.csv' are not in .*dog\.png"):
        make(own, "val")
    problems = Faults()
    assert len(make(own, "val", report=problems, serialize_data=False)) == 0
    assert problems.found == {
        "missing photo": [f"'dog.png' is not in '{own}/'", f"'3.webp' is not in '{own}/'"]
    }


def test_name_that_may_be_two_files(own):
    (own / "Cat 1.png").write_bytes((own / "dog.png").read_bytes())
    (own / "labels.csv").write_text(CSV.replace("Cat 1.JPG", "Cat 1"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'Cat 1' in .* may be Cat 1\.JPG or Cat 1\.png: write"):
        make(own)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(split="dev"), "split must be one of train, val, test, got 'dev'"),
        (dict(split="test"), "no photo of the split 'test': write 'test' into"),
        (dict(image_labels="x.csv"), r"There is no '.*x\.csv'"),
        (dict(data_prefix=dict(img_path="pics")), "Photo folder '.*pics' .*does not exist"),
        (dict(metainfo=dict(classes=("background", "dog"))), "leave metainfo.classes out"),
    ],
)
def test_faults(own, changes, message):
    with pytest.raises(ValueError, match=message):
        make(own, **changes)


def test_metainfo_of_the_user(own):
    colors = [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    classes = ["background", "cat", "dog"]  # as a config that was written down has them
    dataset = make(own, metainfo=dict(palette=colors, classes=classes))
    assert dataset.metainfo["palette"] == colors


def test_photos_that_nothing_names(own):
    assert make(own).unlisted() == []
    (own / "extra.JPG").write_bytes(b"")
    (own / "sub" / "more.png").write_bytes(b"")
    (own / "notes.txt").write_bytes(b"")
    assert make(own).unlisted() == [str(own / "extra.JPG"), str(own / "sub" / "more.png")]
    assert make(own).labels_without_photo() == set()


def test_classes_of_an_entry_of_a_config(own, tmp_path):
    entry = dict(type="OwnPhotosDataset", data_root=str(own))
    assert OwnPhotosDataset.classes_of(entry) == ["background", "cat", "dog"]
    assert OwnPhotosDataset.classes_of(dict(data_root=str(tmp_path / "gone"))) is None
    with pytest.raises(ValueError, match=r"There is no '.*labels\.csv'"):
        OwnPhotosDataset.classes_of(dict(data_root=str(own / "sub")))

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from toy_coco import NAMES, box, content, render, write_annotations, write_coco

import afa.datasets  # noqa: F401  registers the data set
from afa.datasets.coco14 import CLASSES
from afa.datasets.image_labels import load_image_labels
from afa.datasets.prepare import coco14
from afa.datasets.prepare.coco14 import (
    SETTINGS_FILE,
    SplitReport,
    class_table,
    prepare_coco14,
    read_split_settings,
    split_settings,
)
from afa.datasets.wsss_dataset import read_split
from afa.files.label_png import read_label_png
from afa.files.whole_file import write_json

REPO = Path(__file__).resolve().parents[3]
MINI = REPO.parent / "shared" / "data" / "coco14-mini"
MADE = ("SegmentationClass", "ImageSets", "image_labels.json", "coco14.json")


@pytest.fixture
def coco(tmp_path) -> Path:
    return write_coco(tmp_path)


def mask(root: Path, img_id: str) -> Path:
    return root / "SegmentationClass" / img_id.split("_")[1] / f"{img_id}.png"


def times(root: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in root.glob("SegmentationClass/*/*")}


def check(root: Path, source: Path, crowd: str = "class") -> None:
    """Compare all that was made with the annotations, by other means."""
    labels = json.loads((root / "image_labels.json").read_text())
    seen = set()
    for split in ("train", "val"):
        made = json.loads((source / f"annotations/instances_{split}2014.json").read_text())
        names = {item["id"]: item["name"] for item in made["categories"]}
        found = set()
        for image in made["images"]:
            img_id = image["file_name"].removesuffix(".jpg")
            got = {
                names[item["category_id"]]
                for item in made["annotations"]
                if item["image_id"] == image["id"]
            }
            if not got:
                assert img_id not in labels and not mask(root, img_id).exists()
                continue
            found.add(img_id)
            assert set(labels[img_id]) == got and len(labels[img_id]) == len(got)
            label = read_label_png(mask(root, img_id))
            np.testing.assert_array_equal(label, render(made, image, crowd))
        ids = read_split(root / "ImageSets" / f"{split}.txt")
        assert set(ids) == found and ids == sorted(ids)
        assert {path.stem for path in (root / f"SegmentationClass/{split}2014").iterdir()} == found
        seen |= found
    assert set(labels) == seen


@pytest.mark.parametrize("crowd", ["class", "ignore"])
def test_label_maps_labels_and_lists_are_those_of_the_annotations(coco, crowd):
    reports = prepare_coco14(coco, crowd=crowd)
    check(coco, coco, crowd)
    assert json.loads((coco / "image_labels.json").read_text()) == NAMES
    train, val = reports["train"], reports["val"]
    assert (train.num_images, train.num_kept, train.num_made) == (5, 4, 4)
    assert (val.num_annotations, val.num_crowds, val.num_kept) == (3, 1, 1)
    assert train.images_per_class["cup"] == train.regions_per_class["cup"] == 2


def test_hand_made_pixels(coco):
    prepare_coco14(coco)
    first, second, fourth = (
        read_label_png(mask(coco, f"COCO_train2014_{number:012d}")) for number in (1, 2, 4)
    )
    person, dog, sheep, cup, table = (
        CLASSES.index(name) for name in ("person", "dog", "sheep", "cup", "dining table")
    )
    assert first[15, 15] == cup and first[15, 5] == table and first[22, 37] == table
    assert first[5, 28] == person and first[11, 28] == sheep  # of two equals the first is on top
    assert second[3, 3] == person and second[12, 22] == dog and second[12, 33] == sheep
    assert fourth[20, 20] == cup and (fourth == cup).sum() == 1
    assert set(np.unique(read_label_png(mask(coco, "COCO_train2014_000000000005")))) == {0}


@pytest.mark.skipif(not MINI.is_dir(), reason="needs ../shared/data/coco14-mini")
@pytest.mark.parametrize("crowd", ["class", "ignore"])
def test_real_annotations(tmp_path, crowd):
    reports = prepare_coco14(MINI, out=tmp_path, crowd=crowd)
    check(tmp_path, MINI, crowd)
    assert (reports["train"].num_kept, reports["val"].num_kept) == (71, 23)
    assert (reports["train"].num_crowds, reports["val"].num_crowds) == (5, 4)


def test_set_elsewhere_reads_the_photos_through_a_link(coco, tmp_path):
    before = sorted(coco.rglob("*"))
    out = tmp_path / "sets" / "coco"
    prepare_coco14(coco, out=out)
    check(out, coco)
    assert sorted(path for path in coco.rglob("*") if out.parent not in [path, *path.parents]) == (
        before
    )
    assert (out / "train2014").samefile(coco / "train2014")
    assert prepare_coco14(coco, out=out)["train"].num_made == 0
    (out / "val2014").unlink()
    (out / "val2014").mkdir()
    with pytest.raises(ValueError, match="are two folders"):
        prepare_coco14(coco, out=out)


def test_a_file_in_the_place_of_the_folder_is_seen_before_the_annotations_are_read(
    coco, monkeypatch
):
    monkeypatch.setattr(coco14, "CocoInstances", None)
    with pytest.raises(FileExistsError):
        prepare_coco14(coco, out=coco / "annotations" / "instances_val2014.json")


def test_the_config_loads_it_and_reads_photos_without_rotation(coco):
    prepare_coco14(coco)
    cfg = Config.fromfile(REPO / "configs/_base_/datasets/coco14.py")
    for split, num_images in (("train", 4), ("val", 1)):
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset.update(data_root=str(coco), pipeline=cfg.test_pipeline)
        dataset = DATASETS.build(dataset)
        assert len(dataset) == num_images
        for sample in (dataset[index]["data_samples"] for index in range(num_images)):
            names = [CLASSES[index + 1] for index in np.flatnonzero(sample.gt_label)]
            assert names == NAMES[sample.img_id]
            assert sample.ori_shape == sample.gt_sem_seg.shape == (30, 40)


def test_a_second_run_draws_nothing(coco):
    prepare_coco14(coco)
    before = times(coco)
    calls = []
    reports = prepare_coco14(coco, progress=lambda *call: calls.append(call))
    assert times(coco) == before and [report.num_made for report in reports.values()] == [0, 0]
    assert calls == [*(("train", done, 4) for done in range(1, 5)), ("val", 1, 1)]
    check(coco, coco)


def test_a_stopped_run_goes_on_and_redraws_what_is_not_whole(coco):
    def stop(split, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_coco14(coco, progress=stop)
    assert not list((coco / "ImageSets").iterdir()) and len(times(coco)) == 3
    before = times(coco)
    first, second, third = sorted(before)
    mask(coco, first).unlink()
    mask(coco, second).write_bytes(mask(coco, second).read_bytes()[:50])
    reports = prepare_coco14(coco)
    assert reports["train"].num_made == 3
    assert times(coco)[third] == before[third]
    check(coco, coco)


def test_a_second_run_that_is_stopped_leaves_the_set_as_it_was(coco):
    prepare_coco14(coco)

    def stop(split, done, total):
        if split == "val":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_coco14(coco, progress=stop)
    check(coco, coco)


def test_other_settings_and_other_annotations_draw_everything_again(coco):
    prepare_coco14(coco)
    assert prepare_coco14(coco, crowd="ignore")["train"].num_made == 4
    check(coco, coco, "ignore")
    made = content("train")
    made["annotations"][0]["segmentation"] = [box(0, 0, 5, 5)]
    write_annotations(coco, "train", made)
    reports = prepare_coco14(coco, crowd="ignore")
    assert [report.num_made for report in reports.values()] == [4, 0]
    check(coco, coco, "ignore")


def test_a_stop_with_other_settings_leaves_no_mixture(coco):
    prepare_coco14(coco)

    def stop(split, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_coco14(coco, crowd="ignore", progress=stop)
    assert not (coco / "ImageSets" / "train.txt").exists()
    assert prepare_coco14(coco, crowd="ignore")["train"].num_made == 3
    check(coco, coco, "ignore")


def test_splits_can_be_made_one_by_one(coco):
    (coco / "val2014").rename(coco / "later")
    assert list(prepare_coco14(coco, splits=["train"])) == ["train"]
    assert "COCO_val2014_000000000007" not in json.loads((coco / "image_labels.json").read_text())
    (coco / "later").rename(coco / "val2014")
    before = times(coco)
    prepare_coco14(coco, splits=["val"])
    assert before.items() <= times(coco).items()
    check(coco, coco)


def test_work_of_others_is_replaced_only_when_asked_for(coco):
    own = [
        coco / "image_labels.json",
        coco / "ImageSets" / "val.txt",
        coco / "SegmentationClass" / "train2014" / "COCO_train2014_000000000001.png",
    ]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        with pytest.raises(ValueError, match=f"{path.name}' is there already and was not made by"):
            prepare_coco14(coco)
        assert path.read_text() == "mine" and not (coco / "coco14.json").exists()
        path.unlink()
    for path in own:
        path.write_text("mine")
    other = own[2].with_name("COCO_train2014_000000000999.png")
    other.write_text("mine")
    prepare_coco14(coco, overwrite=True)
    assert other.read_text() == "mine"
    other.unlink()
    check(coco, coco)
    assert prepare_coco14(coco, overwrite=True)["train"].num_made == 4


@pytest.mark.parametrize("name", ["annotations/instances_val2014.json", "val2014"])
def test_missing_input_is_told_before_anything_is_made(coco, name):
    (coco / name).rename(coco / "away")
    with pytest.raises(ValueError, match=f"There is no '.*{name}'.*or name one split"):
        prepare_coco14(coco)
    assert not any((coco / made).exists() for made in MADE)


def test_missing_photos_are_counted_before_anything_is_made(coco):
    for number in (1, 3, 5):  # 3 has no objects, so that its photo is not needed
        (coco / "train2014" / f"COCO_train2014_{number:012d}.jpg").unlink()
    with pytest.raises(ValueError, match=r"2 of 4 photos are missing .*, the first is .*001.jpg'"):
        prepare_coco14(coco)
    assert not any((coco / made).exists() for made in MADE)


def test_faults_of_images_are_counted_and_the_others_are_made(coco):
    (coco / "train2014" / "COCO_train2014_000000000001.jpg").write_bytes(b"no photo")
    made = content("train")
    made["annotations"][5]["segmentation"] = [[1, 2, 3]]
    write_annotations(coco, "train", made)
    with pytest.raises(
        ValueError, match=r"2 of 4 images .*, the first is '.*001': its photo cannot be read: mend"
    ):
        prepare_coco14(coco)
    assert len(times(coco)) == 2 and not (coco / "ImageSets" / "train.txt").exists()
    shutil.copy(
        coco / "train2014" / "COCO_train2014_000000000005.jpg",
        coco / "train2014" / "COCO_train2014_000000000001.jpg",
    )
    write_annotations(coco, "train", content("train"))
    prepare_coco14(coco)
    check(coco, coco)


def test_many_faults_end_the_run(coco, monkeypatch):
    monkeypatch.setattr(coco14, "MAX_FAULTS", 2)
    for path in (coco / "train2014").iterdir():
        Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(ValueError, match="At least 2 of 4 images"):
        prepare_coco14(coco)


@pytest.mark.parametrize("name", ["../x.jpg", "/tmp/x.jpg", "../../SegmentationClass/x.jpg"])
def test_names_that_leave_the_folder_are_refused_and_nothing_is_written(coco, name):
    made = content("val")
    made["images"][1]["file_name"] = name
    write_annotations(coco, "val", made)
    before = sorted(coco.parent.rglob("*"))
    with pytest.raises(ValueError, match=r"instances_val2014.json': the file_name .* without fold"):
        prepare_coco14(coco)
    assert sorted(coco.parent.rglob("*")) == before


def test_splits_that_share_an_image(coco):
    made = content("val")
    made["images"][1]["file_name"] = "COCO_train2014_000000000001.jpg"
    write_annotations(coco, "val", made)
    (coco / "val2014" / "COCO_val2014_000000000007.jpg").rename(
        coco / "val2014" / "COCO_train2014_000000000001.jpg"
    )
    with pytest.raises(ValueError, match="'COCO_train2014_000000000001' of the other split"):
        prepare_coco14(coco)
    assert not any((coco / name).exists() for name in MADE)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (dict(crowd="no"), "crowd must be"),
        (dict(splits=["test"]), r"splits must be of train, val, got \['test'\]"),
        (dict(splits=[]), "splits must be of"),
        (dict(workers=-1), "got -1"),
    ],
)
def test_wrong_arguments(coco, wrong, text):
    with pytest.raises(ValueError, match=text):
        prepare_coco14(coco, **wrong)


def test_labels_are_read_by_the_data_set(coco):
    prepare_coco14(coco)
    assert load_image_labels(coco / "image_labels.json", CLASSES, list(NAMES)) == NAMES


def test_workers_draw_the_same(coco, monkeypatch):
    monkeypatch.setattr(coco14, "_MIN_FOR_WORKERS", 0)
    prepare_coco14(coco, workers=2)
    check(coco, coco)


def test_what_was_written_is_read(tmp_path):
    assert read_split_settings(tmp_path) == {}
    record = {"train": split_settings("abc", "class"), "val": split_settings("def", "ignore")}
    write_json(tmp_path / SETTINGS_FILE, {"dataset": "COCO14", "splits": record})
    assert read_split_settings(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS_FILE]


def test_annotations_and_crowds_decide():
    same = split_settings("abc", "class")
    assert same == split_settings("abc", "class")
    assert same not in (split_settings("abd", "class"), split_settings("abc", "ignore"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"splits": 1}', '{"splits": {"val": 1}}', "\0"])
def test_another_file_of_that_name_is_told(tmp_path, text):
    (tmp_path / SETTINGS_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"coco14.json' is not the record .* add --overwrite"):
        read_split_settings(tmp_path)


def test_figures_of_a_split():
    report = SplitReport(10, 8, 30, 2, num_made=5, images_per_class=Counter(cat=8, dog=4))
    assert report.text("val") == (
        "val: 8 images with objects (2 without are left out), 30 annotations (2 crowd regions), "
        "1.50 classes per image; 5 label maps drawn, 3 were there already."
    )


@pytest.mark.parametrize(
    ("split", "images", "kept", "other"),
    [
        ("train", 82783, 82081, ""),
        ("val", 40504, 40137, ""),
        ("train", 82783, 82080, "82,081 images with objects, this file has 82,080"),
        ("val", 40504, 40138, "40,137 images with objects, this file has 40,138"),
        ("train", 40504, 40000, ""),  # a sample: nothing to compare with
    ],
)
def test_the_whole_set_is_compared_with_the_literature(split, images, kept, other):
    lines = SplitReport(images, kept, 1, 0).text(split).splitlines()
    assert len(lines) == (2 if other else 1) and other in lines[-1]


def test_table_of_two_splits():
    train = SplitReport(3, 3, 9, 0, 0, Counter(cat=1200), Counter(cat=5000, dog=1))
    val = SplitReport(3, 3, 9, 0, 0, Counter(dog=2), Counter(dog=3))
    assert class_table({"train": train, "val": val}, ["cat", "dog"]).splitlines() == [
        "class   train images  train regions  val images  val regions",
        " 1 cat         1,200          5,000           0            0",
        " 2 dog             0              1           2            3",
    ]


def test_annotations_that_cover_no_pixel_are_counted(coco):
    reports = prepare_coco14(coco)
    assert {split: report.num_blank for split, report in reports.items()} == dict(train=3, val=0)
    assert "train: 3 annotations of the label maps drawn now cover no pixel" in reports[
        "train"
    ].text("train")
    assert "no pixel" not in reports["val"].text("val")


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        ([], "None of the 12 .*train2014.json' has an outline: they are boxes alone"),
        ([[3, 3, 9, 9]], "has an outline"),
        (None, "has an outline"),
        ([[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]], "None of the 12 .* covers a pixel: outlines must be in"),
    ],
)
def test_annotations_of_which_none_covers_a_pixel_are_refused_again_and_again(
    coco, segmentation, text
):
    made = content("train")
    for item in made["annotations"]:
        item.update(segmentation=segmentation, iscrowd=0)
    write_annotations(coco, "train", made)
    for _ in range(2):  # label maps of the first time are there at the second
        with pytest.raises(ValueError, match=text):
            prepare_coco14(coco)
        assert not (coco / "ImageSets/train.txt").exists()

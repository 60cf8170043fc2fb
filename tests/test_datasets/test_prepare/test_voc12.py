import json
import os
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from toy_voc import mask, write_mask, write_mat

from afa.datasets import VOC12Dataset
from afa.datasets.prepare import voc12
from afa.datasets.prepare.voc12 import (
    VOC12Image,
    VOC12Report,
    fault_text,
    make_mask_and_labels,
    prepare_voc12,
)

LABELS = {
    "2007_000001": ["dog", "person"],
    "2007_000002": ["sheep"],
    "2007_000003": ["tvmonitor"],
    "2007_000004": ["aeroplane"],
    "2008_000001": ["cat", "chair"],
    "2008_000002": ["bird"],
}
MASKS = {
    "2007_000001": mask(12, 255),
    "2007_000002": mask(17, height=7),
    "2007_000003": mask(255, 20),
    "2007_000004": mask(1),
    "2008_000001": mask(9, 0, 8, height=9),
    "2008_000002": mask(3, 20),
}
LISTS = {
    "train_aug": ["2007_000001", "2007_000002", "2008_000001", "2008_000002"],
    "train": ["2007_000001", "2007_000002"],
    "val": ["2007_000004", "2007_000003"],
    "trainval": ["2007_000001", "2007_000002", "2007_000003", "2007_000004"],
    "test": ["2009_000009"],
}


def assert_is_whole(root):
    lists = {path.stem: path.read_text().split() for path in (root / "ImageSets").rglob("*Aug/*")}
    assert lists == LISTS
    assert json.loads((root / "image_labels.json").read_text()) == LABELS
    masks = {path.stem: path for path in (root / "SegmentationClassAug").iterdir()}
    assert masks.keys() == MASKS.keys()
    for img_id, path in masks.items():
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.array(image), MASKS[img_id])


@pytest.mark.parametrize("workers", [0, 1])
def test_masks_lists_and_labels(voc_tree, workers):
    calls = []
    report = prepare_voc12(
        voc_tree.sources(), workers=workers, progress=lambda *args: calls.append(args)
    )
    assert_is_whole(voc_tree.voc)
    assert calls == [(done, 6) for done in range(1, 7)]
    assert report.lists == LISTS and not report.faults and not report.missing
    made = {img_id: image.made_from for img_id, image in report.images.items()}
    assert made == {img_id: "SBD" if img_id[3] == "8" else "VOC" for img_id in LABELS}


def test_it_loads_as_the_configs_name_it(voc_tree):
    prepare_voc12(voc_tree.sources())
    dataset = VOC12Dataset(
        data_root=str(voc_tree.voc),
        ann_file="ImageSets/SegmentationAug/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="image_labels.json",
        pipeline=[dict(type="mmseg.LoadAnnotations")],
        test_mode=True,
    )
    first, second = dataset[0], dataset[1]
    assert (first["img_id"], second["img_id"]) == ("2007_000004", "2007_000003")
    assert np.flatnonzero(second["gt_label"]).tolist() == [19]
    np.testing.assert_array_equal(second["gt_seg_map"], MASKS["2007_000003"])


def test_nothing_else_is_written(voc_tree, contents):
    before = contents(voc_tree.folder)
    prepare_voc12(voc_tree.sources())
    after = contents(voc_tree.folder)
    assert before.items() <= after.items()
    new = {name.removeprefix("VOCdevkit/VOC2012/") for name in after.keys() - before.keys()}
    assert new == {
        "image_labels.json",
        *(f"SegmentationClassAug/{img_id}.png" for img_id in MASKS),
        *(f"ImageSets/SegmentationAug/{name}.txt" for name in LISTS),
    }


def test_a_set_elsewhere_leaves_the_archives_alone(voc_tree, contents):
    before = contents(voc_tree.folder)
    out = voc_tree.folder / "out" / "set"
    prepare_voc12(voc_tree.sources(sbd=voc_tree.sbd, out=out))
    assert_is_whole(out)
    assert (out / "JPEGImages" / "2007_000001.jpg").is_file()
    after = contents(voc_tree.folder)
    assert {name: after[name] for name in after if not name.startswith("out")} == before


def test_a_second_run_writes_nothing(voc_tree):
    prepare_voc12(voc_tree.sources())
    before = {path: path.stat().st_mtime_ns for path in voc_tree.voc.rglob("*")}
    report = prepare_voc12(voc_tree.sources())
    assert before == {path: path.stat().st_mtime_ns for path in voc_tree.voc.rglob("*")}
    assert {image.made_from for image in report.images.values()} == {""}
    # Nor does one that knows the masks only.
    prepare_voc12(voc_tree.sources(masks=voc_tree.voc / "SegmentationClassAug"))
    assert before == {path: path.stat().st_mtime_ns for path in voc_tree.voc.rglob("*")}


def test_a_stopped_run_has_no_lists_and_the_next_one_goes_on(voc_tree, contents):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_voc12(voc_tree.sources(), progress=stop)
    assert not list((voc_tree.voc / "ImageSets" / "SegmentationAug").iterdir())
    made = contents(voc_tree.voc / "SegmentationClassAug")
    assert len(made) == 3 and all(name.endswith(".png") for name in made)
    report = prepare_voc12(voc_tree.sources())
    assert sum(image.made_from == "" for image in report.images.values()) == 3
    assert_is_whole(voc_tree.voc)


def test_difficult_objects_can_be_dropped(voc_tree):
    report = prepare_voc12(voc_tree.sources(), difficult="drop")
    labels = json.loads((voc_tree.voc / "image_labels.json").read_text())
    assert labels == LABELS | {"2007_000001": ["dog"]}
    assert report.images["2008_000002"].only_difficult
    # The other labels do not replace these unasked.
    with pytest.raises(ValueError, match=r"image_labels\.json' is there already.*--overwrite"):
        prepare_voc12(voc_tree.sources())
    assert json.loads((voc_tree.voc / "image_labels.json").read_text()) == labels
    prepare_voc12(voc_tree.sources(), overwrite=True)
    assert_is_whole(voc_tree.voc)


@pytest.mark.parametrize(
    "text", ["2007_000003\n", "/JPEGImages/2007_000003.jpg /Mask/2007_000003.png\n", ""]
)
def test_a_list_of_others_is_never_lost(voc_tree, text):
    path = voc_tree.sources().split("val")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"val\.txt' is there already with another content"):
        prepare_voc12(voc_tree.sources())
    assert path.read_text() == text
    assert [other.name for other in path.parent.iterdir()] == ["val.txt"]
    prepare_voc12(voc_tree.sources(), overwrite=True)
    assert_is_whole(voc_tree.voc)


def test_a_right_list_of_others_stays_in_its_order(voc_tree):
    path = voc_tree.sources().split("train_aug")
    path.parent.mkdir()
    path.write_text("\n".join(reversed(LISTS["train_aug"])))
    before = path.read_bytes()
    prepare_voc12(voc_tree.sources())
    assert path.read_bytes() == before


def test_ready_masks_elsewhere(voc_tree):
    ready = voc_tree.folder / "ready"
    ready.mkdir()
    for img_id, label in MASKS.items():
        write_mask(ready / f"{img_id}.png", label)
    report = prepare_voc12(voc_tree.sources(masks=ready))
    assert_is_whole(voc_tree.voc)
    assert (
        sorted(image.made_from for image in report.images.values()) == ["VOC"] * 4 + ["ready"] * 2
    )


def test_ready_masks_in_place_are_kept_and_the_lists_follow(voc_tree, contents):
    own = voc_tree.voc / "SegmentationClassAug"
    own.mkdir()
    for img_id, label in MASKS.items():
        write_mask(own / f"{img_id}.png", label)
    before = contents(own)
    report = prepare_voc12(voc_tree.sources(masks=own))
    assert contents(own) == before
    assert_is_whole(voc_tree.voc)
    assert not any(image.differs for image in report.images.values())


def test_a_folder_of_coloured_masks_is_refused_soon(voc_tree, contents, monkeypatch):
    monkeypatch.setattr(voc12, "MAX_FAULTS", 2)
    own = voc_tree.voc / "SegmentationClassAug"
    own.mkdir()
    for img_id, label in MASKS.items():
        Image.fromarray(np.stack([label] * 3, -1)).save(own / f"{img_id}.png")
    before, calls = contents(own), []
    with pytest.raises(ValueError, match="got 8-bit RGB") as caught:
        prepare_voc12(voc_tree.sources(masks=own), progress=lambda *args: calls.append(args))
    assert str(caught.value).startswith("The first 2 images that are not fit, of 6 (")
    assert calls == [(1, 6), (2, 6)] and contents(own) == before


FAULTS = {
    "count": (
        lambda t: (t.sbd / "val.txt").write_text("2007_000004\n"),
        "train_aug has 3 images, not 4.",
    ),
    "mat": (
        lambda t: (t.sbd / "cls" / "2008_000001.mat").unlink(),
        "1 of 2 masks in ",
    ),
    "photo": (
        lambda t: (t.voc / "JPEGImages" / "2008_000001.jpg").unlink(),
        "1 of 6 photos in ",
    ),
    "xml": (
        lambda t: (t.voc / "Annotations" / "2008_000001.xml").unlink(),
        "1 of 6 XML files in ",
    ),
    "broken": (
        lambda t: (t.sbd / "cls" / "2008_000001.mat").write_bytes(b"x" * 500),
        "SBD file '",
    ),
    "size": (
        lambda t: write_mat(t.sbd / "cls" / "2008_000001.mat", mask(9)),
        "Mask '",
    ),
    "value": (
        lambda t: write_mat(t.sbd / "cls" / "2008_000001.mat", mask(21, height=9)),
        "Mask '",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_and_there_are_no_lists(voc_tree, name):
    harm, beginning = FAULTS[name]
    harm(voc_tree)
    with pytest.raises(ValueError, match="--allow-partial") as caught:
        prepare_voc12(voc_tree.sources())
    lines = str(caught.value).splitlines()
    assert len([line for line in lines if line.startswith(f"  {beginning}")]) == 1
    if name != "count":
        assert len(lines) == 2 and "2008_000001" in lines[1]
    assert not list((voc_tree.voc / "ImageSets").glob("SegmentationAug/*"))
    assert not (voc_tree.voc / "image_labels.json").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_fit_can_be_left_out(voc_tree, name):
    FAULTS[name][0](voc_tree)
    report = prepare_voc12(voc_tree.sources(), allow_partial=True)
    assert voc_tree.sources().split("train_aug").read_text().split() == [
        img_id for img_id in LISTS["train_aug"] if img_id != "2008_000001"
    ]
    assert voc_tree.sources().split("val").read_text().split() == LISTS["val"]
    assert "2008_000001" not in json.loads((voc_tree.voc / "image_labels.json").read_text())
    assert FAULTS[name][1] in report.text()


def test_a_mended_set_is_completed(voc_tree):
    path = voc_tree.sbd / "cls" / "2008_000001.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(ValueError, match="1 of 6 images are not fit"):
        prepare_voc12(voc_tree.sources())
    path.write_bytes(whole)
    prepare_voc12(voc_tree.sources())
    assert_is_whole(voc_tree.voc)


def test_without_the_test_archive_test_is_left_out(voc_tree):
    (voc_tree.voc / "ImageSets" / "Segmentation" / "test.txt").unlink()
    report = prepare_voc12(voc_tree.sources())
    assert not voc_tree.sources().split("test").exists()
    assert "test.txt is left out" in report.text()


def test_test_photos_that_are_missing_are_told(voc_tree):
    (voc_tree.voc / "JPEGImages" / "2009_000009.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 1 test photos .*VOC2012test\.tar.*2009_000009"):
        prepare_voc12(voc_tree.sources())
    report = prepare_voc12(voc_tree.sources(), allow_partial=True)
    assert "test" not in report.lists and report.lists["val"] == LISTS["val"]


def test_a_set_without_training_images_is_none(voc_tree):
    for img_id in LISTS["train_aug"]:
        (voc_tree.voc / "JPEGImages" / f"{img_id}.jpg").unlink()
    with pytest.raises(ValueError, match="No image is fit for train_aug or none for val"):
        prepare_voc12(voc_tree.sources(), allow_partial=True)
    assert not os.listdir(voc_tree.voc / "ImageSets" / "SegmentationAug")


@pytest.fixture
def sources(voc_tree):
    sources = voc_tree.sources()
    sources.target("x").parent.mkdir()
    return sources


def stored(sources, img_id: str) -> np.ndarray:
    with Image.open(sources.target(img_id)) as image:
        assert image.mode == "P"
        return np.array(image)


def test_mask_of_voc_comes_before_that_of_sbd(sources):
    image = make_mask_and_labels("2007_000001", sources)
    assert image == VOC12Image(
        "2007_000001", made_from="VOC", names=("dog", "person"), in_mask=("dog",)
    )
    np.testing.assert_array_equal(stored(sources, "2007_000001"), mask(12, 255))
    colors = cv2.imread(str(sources.target("2007_000001")))[0, :, ::-1]
    assert colors[0].tolist() == [64, 0, 128] and colors[2].tolist() == [224, 224, 192]


def test_mask_of_sbd_where_voc_has_none(sources):
    image = make_mask_and_labels("2008_000001", sources)
    # Names stand in the order of the classes, not in that of the annotation.
    assert image == VOC12Image(
        "2008_000001", made_from="SBD", names=("cat", "chair"), in_mask=("cat", "chair")
    )
    np.testing.assert_array_equal(stored(sources, "2008_000001"), mask(9, 0, 8, height=9))


def test_difficult_objects_count_unless_dropped(sources):
    both = [
        make_mask_and_labels("2007_000001", sources, difficult) for difficult in ("keep", "drop")
    ]
    assert [image.names for image in both] == [("dog", "person"), ("dog",)]
    assert not any(image.only_difficult for image in both)


def test_an_image_of_difficult_objects_only_keeps_them(sources):
    image = make_mask_and_labels("2008_000002", sources, "drop")
    assert image.names == ("bird",) and image.only_difficult
    assert not make_mask_and_labels("2008_000002", sources, "keep").only_difficult


def test_a_mask_that_is_there_is_kept_unless_overwritten(sources):
    target = sources.target("2007_000001")
    write_mask(target, mask(15))
    before = target.read_bytes()
    image = make_mask_and_labels("2007_000001", sources)
    assert target.read_bytes() == before
    assert (image.made_from, image.in_mask, image.differs) == ("", ("person",), True)
    image = make_mask_and_labels("2007_000001", sources, overwrite=True)
    assert (image.made_from, image.in_mask, image.differs) == ("VOC", ("dog",), False)
    image = make_mask_and_labels("2007_000001", sources)
    assert (image.made_from, image.differs) == ("", False)


def test_ready_masks_fill_what_voc_lacks(voc_tree):
    ready = voc_tree.folder / "ready"
    ready.mkdir()
    for img_id in ("2007_000001", "2008_000001"):
        Image.fromarray(mask(7, height=6 if "2007" in img_id else 9)).save(ready / f"{img_id}.png")
    sources = voc_tree.sources(masks=ready, out=voc_tree.folder / "out")
    sources.target("x").parent.mkdir(parents=True)
    assert make_mask_and_labels("2007_000001", sources).made_from == "VOC"
    assert make_mask_and_labels("2008_000001", sources).made_from == "ready"
    np.testing.assert_array_equal(stored(sources, "2008_000001"), mask(7, height=9))


def test_masks_in_place_are_never_made_from_themselves(voc_tree):
    own = voc_tree.voc / "SegmentationClassAug"
    own.mkdir()
    write_mask(own / "2008_000001.png", mask(7, height=9))
    before = (own / "2008_000001.png").read_bytes()
    image = make_mask_and_labels("2008_000001", voc_tree.sources(masks=own), overwrite=True)
    assert not image.fault and not image.made_from
    assert (own / "2008_000001.png").read_bytes() == before


def mat(tree):
    return tree.sbd / "cls" / "2008_000001.mat"


def xml(tree):
    return tree.voc / "Annotations" / "2008_000001.xml"


def photo(tree):
    return tree.voc / "JPEGImages" / "2008_000001.jpg"


def own(tree):
    return tree.voc / "SegmentationClassAug" / "2008_000001.png"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda t: mat(t).unlink(), r"no mask of '2008_000001' in VOC's .*dataset'\.$"),
        (lambda t: mat(t).write_bytes(b"x" * 300), r"SBD file '.*2008_000001\.mat' is broken"),
        (
            lambda t: write_mat(mat(t), mask(9, height=8)),
            r"Mask '.*mat' has 8x8 pixels, its photo 8x9: replace one",
        ),
        (
            lambda t: write_mat(mat(t), mask(9, 21, 22, height=9)),
            r"Mask '.*mat' has the value 21, which is neither 0..20 nor 255",
        ),
        (lambda t: write_mask(own(t), mask(254, height=9)), r"Aug.*png' has the value 254"),
        (lambda t: write_mask(own(t), mask(1)), r"Aug.*png' has 8x6 pixels, its photo 8x9"),
        (lambda t: own(t).write_bytes(b"PNG"), r"is no PNG file"),
        (lambda t: Image.new("RGB", (8, 9)).save(own(t)), r"got 8-bit RGB: take the masks before"),
        (lambda t: xml(t).unlink(), r"Annotation '.*2008_000001\.xml' cannot be read \(No such"),
        (lambda t: xml(t).write_text("<annotation>"), r"Malformed annotation"),
        (lambda t: t.write_xml("2008_000001", []), r"no <object>"),
        (lambda t: t.write_xml("2008_000001", [("cap", 0)]), r"Unknown class 'cap'.*'cat'"),
        (lambda t: photo(t).unlink(), r"Photo '.*2008_000001\.jpg' cannot be read \(no such file"),
        (lambda t: photo(t).write_bytes(b"JFIF"), r"Photo '.*jpg' cannot be read \(.*: replace it"),
    ],
)
@pytest.mark.parametrize("difficult", ["keep", "drop"])
def test_every_fault_is_one_line_and_makes_no_mask(
    voc_tree, sources, contents, harm, message, difficult
):
    harm(voc_tree)
    before = contents(voc_tree.voc)
    image = make_mask_and_labels("2008_000001", sources, difficult)
    assert image == VOC12Image("2008_000001", fault=image.fault)
    assert re.search(message, image.fault), image.fault
    assert "\n" not in image.fault
    assert contents(voc_tree.voc) == before


def test_a_mask_that_cannot_be_written_stops_the_run(sources):
    sources.target("x").parent.rmdir()
    with pytest.raises(OSError):
        make_mask_and_labels("2008_000001", sources)


@pytest.fixture
def report():
    report = VOC12Report(lists=dict(train_aug=["a", "b"], val=["c"], test=["t"]))
    report.add(VOC12Image("a", "", "VOC", ("cat", "dog"), ("cat",)))
    report.add(VOC12Image("b", "", "SBD", ("cat",), ("cat",)))
    report.add(VOC12Image("c", "", "", ("bus",), ("bus",)))
    return report


def test_classes_are_counted_by_labels_and_by_masks(report):
    rows = [line.split("  ") for line in report.text().splitlines()[:22]]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert table["class"] == ["train_aug labels", "train_aug masks", "val labels", "val masks"]
    assert table["cat"] == ["2", "2", "0", "0"]
    assert table["dog"] == ["1", "0", "0", "0"]
    assert table["bus"] == ["0", "0", "1", "1"]
    assert table["labels per image"] == ["1.50", "1.00", "1.00", "1.00"]
    assert len(table) == 22


def test_sizes_and_sources_are_told(report):
    lines = report.text().splitlines()
    assert "Images: train_aug 2, val 1, test 1." in lines
    assert "Masks: 1 from VOC, 1 from SBD, 1 were there already." in lines
    assert lines[-1].startswith("Annotations and masks name other classes in 1 images (33.3 %)")


def test_what_is_unusual_is_told(report):
    del report.lists["test"]
    report.add(VOC12Image("c", "", "", ("bus",), ("bus",), only_difficult=True, differs=True))
    report.missing.append("val has 1 images, not 2.")
    report.add(VOC12Image("d", "Mask 'd' is broken."))
    text = report.text()
    for part in (
        "1 images have difficult objects only: these count",
        "1 masks that were there are not VOC's own, the first is c: --overwrite",
        "test.txt is left out",
    ):
        assert part in text
    tail = "Not the whole set:\n  val has 1 images, not 2.\n  Mask 'd' is broken."
    assert text.endswith(tail)


def test_only_the_first_faults_are_shown():
    text = fault_text("Wrong", (f"fault {number}" for number in range(1012)))
    lines = text.splitlines()
    assert lines[0] == "Wrong:" and lines[1] == "  fault 0" and lines[10] == "  fault 9"
    assert lines[11] == "  ... and 1,002 more." and len(lines) == 12

"""Label maps go to annotation tools and come back the same."""

import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from afa.datasets.prepare.annotations import convert_annotations
from afa.datasets.prepare.export_labels import WRITERS, ExportOptions, export_labels
from afa.files.label_png import read_label_png, write_label_png

CLASSES = ["dog", "cat, big", "ant"]  # not in the order of the alphabet, and with a comma


def blobs(height, width, seed):
    """Draw a label map with holes, regions that touch, lines of one pixel, and 255."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3) for _ in range(4)]
    label = np.argmax(noise, axis=0).astype(np.uint8)
    label[height // 2 : height // 2 + 6, 3:12] = 255
    label[height // 2 + 2, 5:8] = 2
    return label


@pytest.fixture
def own(tmp_path):
    """Photos in folders, one of them turned by EXIF, and their label maps."""
    for number, (name, size) in enumerate(
        {"a b": (40, 52), "sub/c": (31, 29), "d": (33, 47)}.items()
    ):
        photo, label = tmp_path / f"photos/{name}.jpg", tmp_path / f"labels/{name}.png"
        for path in (photo, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "d" else 1
        stored = size if name == "d" else size[::-1]
        Image.new("RGB", stored, (90, 120, number)).save(photo, exif=exif)
        write_label_png(label, blobs(*size, number))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    return tmp_path


def there_and_back(own, form, **how):
    """Export, convert back, and give the pairs of label maps by name."""
    args = (own / "labels", own / "photos", own / "out", form, str(own / "classes.txt"))
    assert export_labels(*args, ExportOptions(**how)) == 3
    report = convert_annotations(own / "out", own / "photos")
    assert report.num_masks == 3 and report.kind == form
    masks = own / "photos/masks"
    names = sorted(path.relative_to(masks) for path in masks.rglob("*.png"))
    assert [name.as_posix() for name in names] == ["a b.png", "d.png", "sub/c.png"]
    classes = (own / "photos/classes.txt").read_text().splitlines()
    return classes, {
        n: (read_label_png(own / "labels" / n), read_label_png(masks / n)) for n in names
    }


def same_classes(label, classes):
    """Give a label map the values that its classes have in another order."""
    table = np.arange(256, dtype=np.uint8)
    for value, name in enumerate(["dog", "cat big", "ant"], start=1):
        table[value] = classes.index(name) + 1
    return table[label]


EXACT = dict(polygons=True, tolerance=0)


@pytest.mark.parametrize(
    ("form", "how"),
    [*((form, {}) for form in WRITERS), *((form, EXACT) for form in WRITERS if form != "fiftyone")],
)
def test_every_pixel_comes_back(own, form, how):
    classes, pairs = there_and_back(own, form, **how)
    if form != "label-studio":  # which has no order of classes
        assert classes == ["dog", "cat big", "ant"]
    for before, after in pairs.values():
        assert 255 in before and set(np.unique(before)) == {0, 1, 2, 3, 255}
        np.testing.assert_array_equal(same_classes(before, classes), after)


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio"])
def test_polygons_differ_by_a_pixel_at_the_border(own, form):
    classes, pairs = there_and_back(own, form, polygons=True)
    for before, after in pairs.values():
        before = same_classes(before, classes)
        differs = before != after
        assert 0 < differs.mean() < 0.1
        square = np.ones((3, 3), np.uint8)
        border = cv2.dilate(before, square) != cv2.erode(before, square)
        assert not (differs & ~border).any()


def test_what_the_tools_want_beside_it(own):
    args = (own / "labels", own / "photos")
    export_labels(*args, own / "cvat", "cvat", "dog,cat,ant")
    labels = json.loads((own / "cvat/cvat_labels.json").read_text())
    assert [label["name"] for label in labels] == ["dog", "cat", "ant", "__ignore__"]
    root = ElementTree.parse(own / "cvat/annotations.xml").getroot()
    assert [image.get("name") for image in root.iter("image")] == ["a b.jpg", "d.jpg", "sub/c.jpg"]
    export_labels(*args, own / "ls", "label-studio", "dog,cat,ant", ExportOptions(polygons=True))
    task = json.loads((own / "ls/tasks.json").read_text())[0]
    assert task["data"] == {"image": "/data/local-files/?d=a%20b.jpg"}
    view = ElementTree.parse(own / "ls/config.xml").getroot()
    control = view.find("PolygonLabels")
    for item in task["predictions"][0]["result"]:
        assert (item["from_name"], item["to_name"]) == (control.get("name"), "image")
        assert (item["original_width"], item["original_height"]) == (52, 40)
        assert item["value"][item["type"]][0] in {label.get("value") for label in control}
    export_labels(*args, own / "51", "fiftyone", "dog,cat,ant")
    assert json.loads((own / "51/data.json").read_text())["sub/c"] == str(own / "photos/sub/c.jpg")
    with Image.open(own / "51/labels/sub/c.png") as image:
        assert image.mode == "L"


def test_coco_is_as_pycocotools_wants_it(own):
    from pycocotools.coco import COCO

    export_labels(own / "labels", own / "photos", own / "out", "coco", "dog,cat,ant")
    coco = COCO(str(own / "out/coco.json"))
    label = read_label_png(own / "labels/sub/c.png")
    (image,) = [key for key, image in coco.imgs.items() if image["file_name"] == "sub/c.jpg"]
    for item in coco.loadAnns(coco.getAnnIds(imgIds=image, catIds=[1])):
        np.testing.assert_array_equal(coco.annToMask(item), label == 1)
        assert item["area"] == (label == 1).sum()


@pytest.mark.parametrize("record", ["summary.json", "predict.json"])
def test_classes_are_those_that_the_tools_noted(own, record):
    (own / record).write_text(json.dumps(dict(classes=["background", "dog", "cat", "ant"])))
    export_labels(own, own / "photos", own / "out", "coco")
    categories = json.loads((own / "out/coco.json").read_text())["categories"]
    assert [one["name"] for one in categories] == ["dog", "cat", "ant", "__ignore__"]


def test_classes_of_own_photos(own):
    (own / "photos/labels.csv").write_text("photo,ant,dog,cat\na b.jpg,1,0,1\n")
    given = str(own / "photos/labels.csv")
    export_labels(own / "labels", own / "photos", own / "out", "fiftyone", given)
    targets = json.loads((own / "out/mask_targets.json").read_text())
    assert targets == {"0": "background", "1": "ant", "2": "dog", "3": "cat", "255": "__ignore__"}


FAULTS = {
    "no classes": (dict(classes=None), "classes of the labels are not known, .* --classes"),
    "a class twice": (dict(classes="a,b,a"), "have a name twice"),
    "too few classes": (dict(classes="a,b"), "has the value 3, and there are 2 classes"),
    "no such form": (dict(form="voc"), "must be one of coco, cvat"),
    "no labels": (dict(labels="none"), "no label map .* in '.*none'"),
    "no photos": (dict(photos="none"), "no folder '.*none' with photos"),
    "other photos": (dict(photos="labels/sub"), "has no photo|no photo in"),
    "out is a file": (dict(out="classes.txt"), "'.*classes.txt' is a file"),
    "out is not empty": (dict(out="photos"), "photos' is not empty"),
    "out holds the labels": (dict(out=".", overwrite=True), "labels' lie in"),
    "polygons for FiftyOne": (
        dict(form="fiftyone", options=ExportOptions(polygons=True)),
        "leave --polygons out",
    ),
    "tolerance": (dict(options=ExportOptions(tolerance=-1)), "tolerance must be 0 to 100"),
    "classes cannot be read": (dict(classes="no.txt"), "'no.txt' cannot be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(own, name):
    changes, message = FAULTS[name]
    args = dict(labels="labels", photos="photos", out="out", form="coco", classes="a,b,c")
    args |= changes
    for key in ("labels", "photos", "out"):
        args[key] = own / args[key]
    with pytest.raises(ValueError, match=message):
        export_labels(**args)
    assert not (own / "out/coco.json").exists() and not (own / "photos/coco.json").exists()


def test_label_map_of_another_size_is_refused(own):
    write_label_png(own / "labels/d.png", np.zeros((47, 33), np.uint8))
    with pytest.raises(ValueError, match=r"33x47 pixels, its photo 47x33"):
        export_labels(own / "labels", own / "photos", own / "out", "coco", "a,b,c")
    assert not (own / "out").exists()


def test_coloured_label_map_is_refused(own):
    Image.new("RGB", (47, 33)).save(own / "labels/d.png")
    with pytest.raises(ValueError, match="indexed or 8-bit grey PNG"):
        export_labels(own / "labels", own / "photos", own / "out", "coco", "a,b,c")

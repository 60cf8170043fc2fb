"""What annotation tools export becomes labels of own photos."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_annotations import (
    CAT_RING,
    DOG_RING,
    FIRST,
    HEIGHT,
    SECOND,
    WIDTH,
    coco,
    cvat,
    label_studio,
    labelme,
    voc,
    write,
    write_annotations,
    write_photos,
)

from afa.datasets.faults import Faults
from afa.datasets.own_labels import read_own_labels
from afa.datasets.own_photos import OwnPhotosDataset
from afa.datasets.prepare.annotations import convert_annotations
from afa.files.label_png import read_label_png

KINDS = ["coco", "cvat", "label-studio", "labelme", "voc", "csv", "fiftyone"]
ROWS = ["photo,labels", "a b.jpg,cat;dog", "sub/c.png,dog"]


def masks_in(folder):
    """Give the masks by the path of their photo."""
    return {
        path.relative_to(folder / "masks").as_posix(): read_label_png(path)
        for path in sorted(folder.rglob("masks/**/*.png"))
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_tool_gives_the_same_labels(kind, tmp_path):
    write_annotations(kind, tmp_path)
    report = convert_annotations(tmp_path)
    assert report.kind == kind
    assert (tmp_path / "labels.csv").read_text().splitlines() == ROWS
    masks = masks_in(tmp_path)
    if kind in ("voc", "csv"):  # which have boxes and tags
        assert not masks and report.num_masks == 0
    else:
        classes = (tmp_path / "classes.txt").read_text().splitlines()
        assert classes == (["dog", "cat"] if kind == "coco" else ["cat", "dog"])
        table = np.array([0, *(["cat", "dog"].index(name) + 1 for name in classes)])
        assert list(masks) == ["a b.png", "sub/c.png"]
        if kind == "coco":  # draws the largest first: the dog is smaller
            assert classes == ["dog", "cat"]
        np.testing.assert_array_equal(table[masks["a b.png"]], FIRST)
        np.testing.assert_array_equal(table[masks["sub/c.png"]], SECOND)
    notes = " ".join(report.notes)
    # Label Studio says itself that nobody has looked at the third photo.
    assert ("1 photos have no mark, the first is 'd.jpg'" in notes) == (kind != "label-studio")
    assert "class  photos  marks" in report.text() and "2 photos (" in report.text()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "label-studio"])
def test_photos_without_a_mark_are_kept_on_demand(kind, tmp_path):
    write_annotations(kind, tmp_path)
    convert_annotations(tmp_path, keep_empty=True)
    assert (tmp_path / "labels.csv").read_text().splitlines() == [*ROWS[:2], "d.jpg,", ROWS[2]]
    if kind not in ("voc", "csv"):
        assert not masks_in(tmp_path)["d.png"].any()


def test_the_data_set_reads_what_was_written(tmp_path):
    write_annotations("cvat", tmp_path)
    convert_annotations(tmp_path)
    prefix = dict(img_path="", seg_map_path="masks")
    dataset = OwnPhotosDataset("train", data_root=str(tmp_path), data_prefix=prefix, test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert {info["img_id"] for info in infos} == {"a b", "sub/c"}
    assert all("seg_map_path" in info for info in infos)


def test_own_classes_txt_gives_the_order_and_stays(tmp_path):
    write_annotations("cvat", tmp_path)
    (tmp_path / "classes.txt").write_text("ant\ndog\ncat\n")
    convert_annotations(tmp_path)
    assert (tmp_path / "classes.txt").read_text() == "ant\ndog\ncat\n"
    np.testing.assert_array_equal(masks_in(tmp_path)["sub/c.png"], SECOND)  # dog is 2
    (tmp_path / "classes.txt").write_text("ant\n")
    with pytest.raises(ValueError, match=rf"Unknown class 'cat' in '{tmp_path}/labels.csv'"):
        convert_annotations(tmp_path, overwrite=True)


def test_photos_may_lie_elsewhere(tmp_path):
    write_photos(tmp_path / "photos/deep")
    source = write(tmp_path / "export/x.json", coco())
    convert_annotations(source, tmp_path / "photos")
    rows = (tmp_path / "photos/labels.csv").read_text().splitlines()
    assert rows[1:] == ["deep/a b.jpg,cat;dog", "deep/sub/c.png,dog"]
    assert list(masks_in(tmp_path / "photos")) == ["deep/a b.png", "deep/sub/c.png"]


def test_roboflow_has_splits_and_a_category_above_all(tmp_path):
    made = dict(coco(), images=[dict(id=1, file_name="x.jpg", width=WIDTH, height=HEIGHT)])
    made["annotations"] = [dict(id=0, image_id=1, category_id=2, bbox=[0, 0, 3, 3])]
    for split in ("train", "valid", "test"):
        write_photos(tmp_path / split, ["x.jpg"])
        write(tmp_path / split / "_annotations.coco.json", made)
    report = convert_annotations(tmp_path)
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    assert rows[1:] == ["test/x.jpg,cat,test", "train/x.jpg,cat,train", "valid/x.jpg,cat,val"]
    assert report.own.classes == ("background", "cat") and report.num_masks == 0


def test_without_val_a_part_of_train_becomes_val(tmp_path):
    text = "filename,cat,dog,Unlabeled\n"
    for split, count in (("train", 10), ("test", 3)):
        names = [f"{number}.jpg" for number in range(count)]
        write_photos(tmp_path / split, names)
        body = "".join(f"{name},{i % 2},{1 - i % 2},0\n" for i, name in enumerate(names))
        write(tmp_path / split / "_classes.csv", text + body)
    report = convert_annotations(tmp_path)
    splits = [photo.split for photo in report.own.photos]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (8, 2, 3)


def test_folders_of_classes(tmp_path):
    write_photos(tmp_path, ["train/cat/a.jpg", "train/dog/b.jpg", "valid/cat/c.jpg"])
    assert convert_annotations(tmp_path).kind == "folders"
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    assert rows[1:] == [
        "train/cat/a.jpg,cat,train",
        "train/dog/b.jpg,dog,train",
        "valid/cat/c.jpg,cat,val",
    ]
    other = tmp_path / "other"
    write_photos(other, ["cat/a.jpg", "dog/b.jpg"])
    with pytest.raises(ValueError, match=r"no annotations of a form that is read"):
        convert_annotations(other)  # folders may have any names; it must be said
    convert_annotations(other, kind="folders")
    assert (other / "labels.csv").read_text().splitlines()[1:] == ["cat/a.jpg,cat", "dog/b.jpg,dog"]


def test_a_box_beside_an_outline_means_no_mask(tmp_path):
    write_photos(tmp_path)
    made = coco()
    made["annotations"].append(dict(id=9, image_id=1, category_id=2, bbox=[0, 0, 5, 5]))
    report = convert_annotations(write(tmp_path / "x.json", made))
    assert list(masks_in(tmp_path)) == ["a b.png"]
    assert "1 photos have no mask, the first is 'sub/c.png'" in report.text()


def test_predictions_count_where_nobody_has_marked_anything(tmp_path):
    write_photos(tmp_path)
    tasks = label_studio()
    for task in tasks:
        task["predictions"] = task.pop("annotations")
    convert_annotations(write(tmp_path / "x.json", tasks))
    np.testing.assert_array_equal(masks_in(tmp_path)["a b.png"], FIRST)


def test_short_label_studio_export_choices_and_remarks_on_regions(tmp_path):
    write_photos(tmp_path)
    size = dict(original_width=WIDTH, original_height=HEIGHT)
    ellipse = dict(x=50, y=50, radiusX=30, radiusY=25, rotation=0, ellipselabels=["cat"], **size)
    remark = dict(x=50, y=50, radiusX=30, radiusY=25, choices=["cut off"], **size)
    tasks = [
        dict(id=1, image="/data/upload/2/a b.jpg", choice="dog", annotator=1, annotation_id=1),
        dict(id=2, image="d.jpg", choice=dict(choices=["dog", "cat"]), annotation_id=2),
        dict(id=3, image="sub/c.png", label=[ellipse, remark], annotation_id=3),
    ]
    convert_annotations(write(tmp_path / "min.json", tasks))
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    assert rows[1:] == ["a b.jpg,dog", "d.jpg,cat;dog", "sub/c.png,cat"]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = ((x - 10) / 6) ** 2 + ((y - 8) / 4) ** 2
    mask = masks_in(tmp_path)["sub/c.png"]
    assert mask[inside < 0.7].all() and not mask[inside > 1.3].any()


def test_names_of_classes_are_made_one(tmp_path):
    write_photos(tmp_path)
    made = coco()
    made["categories"] = [
        dict(id=0, name="sea  lion;big"),
        dict(id=1, name="Sea Lion big"),
        dict(id=2, name="_background_"),
    ]
    made["annotations"][2]["category_id"] = 1
    made["annotations"].append(dict(made["annotations"][0], id=5))
    report = convert_annotations(write(tmp_path / "x.json", made))
    assert report.own.classes == ("background", "sea lion big")
    assert "'Sea Lion big' is taken as 'sea lion big'" in report.text()
    mask = masks_in(tmp_path)["a b.png"]
    np.testing.assert_array_equal(mask, FIRST == 2)  # the background is drawn, too


def test_classes_can_be_left_out_and_ignored(tmp_path):
    write_photos(tmp_path)
    shapes = labelme("a b.jpg")
    shapes["shapes"][0]["label"] = "__ignore__"
    shapes["flags"] = {"blurred": True, "sharp": False}
    write(tmp_path / "a b.json", shapes)
    report = convert_annotations(tmp_path / "a b.json", leave_out=["blurred"])
    assert report.own.classes == ("background", "dog")
    expected = np.where(FIRST == 1, 255, FIRST // 2)
    np.testing.assert_array_equal(masks_in(tmp_path)["a b.png"], expected)


def test_outlines_on_a_photo_as_stored_are_turned_with_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "t.jpg", exif=exif)
    made = coco()
    made["images"] = [dict(id=0, file_name="t.jpg", width=WIDTH, height=HEIGHT)]
    made["annotations"] = made["annotations"][1:2]
    convert_annotations(write(tmp_path / "x.json", made))
    expected = np.rot90(
        (FIRST > 0) & (np.arange(HEIGHT)[:, None] < 12) & (np.arange(WIDTH) < 15), -1
    )
    np.testing.assert_array_equal(masks_in(tmp_path)["t.png"], expected)


def test_nothing_is_replaced_unasked(tmp_path):
    write_annotations("cvat", tmp_path)
    convert_annotations(tmp_path)
    before = (tmp_path / "labels.csv").read_bytes()
    with pytest.raises(ValueError, match=r"labels.csv' is there already"):
        convert_annotations(tmp_path)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "annotations.xml").write_text(cvat().replace("<mask", "<box").replace("cat", "ox"))
    convert_annotations(tmp_path, overwrite=True)
    assert (tmp_path / "labels.csv").read_bytes() != before
    assert list(masks_in(tmp_path)) == ["a b.png"]  # that of the other photo is gone


def test_partial_leaves_out_what_has_a_fault(tmp_path):
    write_photos(tmp_path)
    made = coco()
    made["annotations"][2]["segmentation"]["size"] = [5, 5]
    made["images"].append(dict(id=8, file_name="gone.jpg"))
    made["annotations"].append(dict(id=9, image_id=99, category_id=0))
    faults = Faults()
    convert_annotations(write(tmp_path / "x.json", made), report=faults)
    assert (tmp_path / "labels.csv").read_text().splitlines() == ROWS[:2]
    assert list(faults.found) == ["annotation", "photo", "outline"] and faults.count == 3


def broken(change):
    """Give COCO with a change."""
    made = coco()
    change(made)
    return made


def studio(change):
    tasks = label_studio()
    change(tasks)
    return tasks


def me(change):
    made = labelme("a b.jpg")
    change(made)
    return made


VIDEO = "<annotations><track id='0' label='cat'><box frame='0'/></track></annotations>"
DTD = '<!DOCTYPE a [<!ENTITY x "y">]><annotation><object><name>&x;</name></object></annotation>'
FAULTS = {
    "COCO cut": ("x.json", json.dumps(coco())[:200], "'.*x.json' is malformed"),
    "COCO deep": ("x.json", "[" * 100_000, "x.json' is malformed"),
    "COCO without categories": (
        "x.json",
        broken(lambda made: made.pop("categories")),
        "x.json' is not as COCO JSON is: 'categories' is missing",
    ),
    "COCO images no list": (
        "x.json",
        broken(lambda made: made.update(images={"a": 1})),
        "'images' is .*, which is of another type",
    ),
    "COCO image without name": (
        "x.json",
        broken(lambda made: made["images"][0].pop("file_name")),
        "'file_name' is missing",
    ),
    "COCO id twice": (
        "x.json",
        broken(lambda made: made["images"][1].update(id=0)),
        "two images of the id 0",
    ),
    "COCO unknown category": (
        "x.json",
        broken(lambda made: made["annotations"][0].update(category_id=5)),
        "annotation 0: its list 'categories' does not have the id 5",
    ),
    "COCO unknown image": (
        "x.json",
        broken(lambda made: made["annotations"][1].update(image_id="z")),
        "annotation 1: its list 'images' does not have the id 'z'",
    ),
    "COCO half a ring": (
        "x.json",
        broken(lambda made: made["annotations"][0].update(segmentation=[[1, 2, 3]])),
        "photo 'a b.jpg' have a ring that is not a list of x and y by turns",
    ),
    "COCO ring far out": (
        "x.json",
        broken(lambda made: made["annotations"][0].update(segmentation=[[1, 2, 3, 1e9, 3, 3]])),
        "a ring that lies far outside",
    ),
    "COCO runs too short": (
        "x.json",
        broken(lambda made: made["annotations"][2]["segmentation"].update(counts=[5, 5])),
        "runs that do not fill 20x16",
    ),
    "COCO of other photos": (
        "x.json",
        broken(lambda made: made["images"][0].update(width=640)),
        "'a b.jpg' twice and not alike|the size 640x16, and the file 20x16",
    ),
    "COCO photo missing": (
        "x.json",
        broken(lambda made: made["images"][1].update(file_name="e.png")),
        "photo '(annotations/)?e.png' of the annotations is not in",
    ),
    "COCO path climbs": (
        "x.json",
        broken(lambda made: made["images"][1].update(file_name="../../etc/passwd")),
        "is not in",
    ),
    "COCO no objects": (
        "x.json",
        broken(lambda made: made.update(annotations=[])),
        "nothing is left to write. 3 photos have no mark",
    ),
    "CVAT for video": ("x.xml", VIDEO, "'CVAT for video': export 'CVAT for images 1.1'"),
    "CVAT cut": ("x.xml", cvat()[:300], "x.xml' is malformed"),
    "CVAT without width": ("x.xml", cvat().replace("width", "w", 1), "<image> has no 'width'"),
    "CVAT no number": ("x.xml", cvat().replace("3.00", "three", 1), '"three" stands where a num'),
    "CVAT label missing": ("x.xml", cvat().replace("tag label", "tag l"), "a <tag> without label"),
    "CVAT runs": ("x.xml", cvat().replace('rle="', 'rle="7, ', 1), "runs that do not fill 8x6"),
    "CVAT box": ("x.xml", cvat().replace('left="10"', 'left="19"'), "a mask that leaves the 20x16"),
    "Label Studio turned": (
        "x.json",
        studio(lambda t: t[0]["annotations"][0]["result"][0].update(image_rotation=90)),
        "task 11: the photo was turned in the tool",
    ),
    "Label Studio brush cut": (
        "x.json",
        studio(
            lambda t: t[1]["annotations"][0]["result"][0]["value"]["rle"].__delitem__(
                slice(12, None)
            )
        ),
        "brush strokes that are cut off",
    ),
    "Label Studio brush of another size": (
        "x.json",
        studio(lambda t: t[1]["annotations"][0]["result"][0]["value"]["rle"].__setitem__(3, 8)),
        "brush strokes that are not those of a 20x16 image",
    ),
    "Label Studio brush no bytes": (
        "x.json",
        studio(lambda t: t[1]["annotations"][0]["result"][0]["value"].update(rle=[-1, 999])),
        "brush strokes that are no list of bytes",
    ),
    "Label Studio no photo": (
        "x.json",
        studio(lambda t: t[0].update(data={"text": "hello"})),
        "task 11: it names no photo",
    ),
    "Label Studio result no list": (
        "x.json",
        studio(lambda t: t[0]["annotations"][0].update(result="x")),
        "task 11: 'result' is \"x\", which is of another type",
    ),
    "labelme point": (
        "x.json",
        me(lambda made: made["shapes"][0].update(points=[[1, 2, 3]])),
        "'points' are no pairs of x and y",
    ),
    "labelme no label": (
        "x.json",
        me(lambda made: made["shapes"][0].update(label=" ")),
        '" " is no name of a class',
    ),
    "labelme mask": (
        "x.json",
        me(lambda made: made["shapes"][1].update(mask="iVBOR")),
        "'a b.jpg' have a mask that cannot be read",
    ),
    "labelme infinite": (
        "x.json",
        json.dumps(labelme("a b.jpg")).replace("[3, 2]", "[1e999, 2]"),
        "Infinity stands where a number belongs",
    ),
    "VOC entity": ("x.xml", DTD, "declares a DOCTYPE"),
    "VOC without name": (
        "x.xml",
        voc("a b.jpg", "cat").replace("name>", "n>"),
        "x.xml' is not as Pascal VOC .* an <object> without <name>",
    ),
    "CSV": ("_classes.csv", "filename,cat\na b.jpg,maybe\n", "'cat' must be 0 or 1, got 'maybe'"),
    "something else": ("x.json", {"hello": 1}, "no annotations of a form that is read"),
    "empty file": ("x.xml", "", "x.xml' is malformed"),
    "FiftyOne value": ("mask_targets.json", {"999": "cat"}, "'999' is no value of a pixel"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name, tmp_path):
    file, content, message = FAULTS[name]
    write_photos(tmp_path)
    write(tmp_path / file, content)
    with pytest.raises(ValueError, match=message) as caught:
        convert_annotations(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "labels.csv").exists() and not (tmp_path / "masks").exists()


def test_faults_of_the_place(tmp_path):
    write_photos(tmp_path / "photos")
    source = write(tmp_path / "x.json", coco())
    with pytest.raises(ValueError, match=r"There are no annotations"):
        convert_annotations(tmp_path / "y.json")
    with pytest.raises(ValueError, match=r"There is no folder '.*/gone' with photos"):
        convert_annotations(source, tmp_path / "gone")
    with pytest.raises(ValueError, match=r"The form must be one of coco, .* got 'yolo'"):
        convert_annotations(source, kind="yolo")
    with pytest.raises(ValueError, match=r"is an archive: unpack it"):
        convert_annotations(write(tmp_path / "x.zip", ""))
    write(tmp_path / "photos/labels.json", coco())
    with pytest.raises(ValueError, match=r"labels.json' would stand beside labels.csv"):
        convert_annotations(tmp_path / "photos/labels.json")
    write(tmp_path / "annotations.xml", cvat())
    with pytest.raises(ValueError, match=r"has several forms: .*CVAT .*COCO"):
        convert_annotations(tmp_path)
    assert convert_annotations(tmp_path, kind="coco", keep_empty=True).kind == "coco"


def test_a_name_that_may_be_two_photos_is_refused(tmp_path):
    write_photos(tmp_path, ["one/a b.jpg", "two/a b.jpg", "sub/c.png", "d.jpg"])
    with pytest.raises(
        ValueError, match=r"'a b.jpg' of the annotations may be 'one/a b.jpg' or 'two"
    ):
        convert_annotations(write(tmp_path / "x.json", coco()))
    write_photos(tmp_path, ["a b.jpg"])  # the path is the whole of it
    convert_annotations(tmp_path / "x.json")


def test_photos_that_would_have_one_mask_are_refused(tmp_path):
    write_photos(tmp_path, ["a b.jpg", "a b.png"])
    text = "filename,cat\na b.jpg,1\na b.png,1\n"
    with pytest.raises(ValueError, match=r"their masks and results would have one name"):
        convert_annotations(write(tmp_path / "x.csv", text))


@pytest.mark.parametrize("content", [coco(), label_studio(), labelme("d.jpg")])
def test_labels_json_of_a_tool_is_sent_to_the_command(content, tmp_path):
    path = write(tmp_path / "labels.json", content)
    with pytest.raises(
        ValueError, match=r"rename it to '.*annotations.json' and make labels.csv"
    ) as e:
        read_own_labels(path)
    assert f"`python tools/dataset_converters/annotations.py '{tmp_path}/annotations.json'`" in str(
        e.value
    )
    path = write(tmp_path / "image_labels.xml", cvat())
    with pytest.raises(ValueError, match=r"image_labels.xml' is XML, .*annotations.py makes one"):
        read_own_labels(path)


def test_rings_of_the_samples():
    assert (FIRST == 1).sum() == 12 * 10 - 5 * 4 and (FIRST == 2).sum() == 8 * 6
    assert CAT_RING[:2] == [3, 2] and DOG_RING[:2] == [10, 8]

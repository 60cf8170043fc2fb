import json

import numpy as np
import pytest
from mmseg.registry import DATASETS

from afa.datasets import WSSSDataset
from afa.datasets.wsss_dataset import check_ids, read_split, write_split

CLASSES = ("background", "cat", "dog", "bus")


def make(tree, **changes) -> WSSSDataset:
    arguments = dict(
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img", seg_map_path="mask"),
        metainfo=dict(classes=CLASSES),
        image_labels="labels.json",
    )
    return WSSSDataset(**{**arguments, **changes})


LOAD_MASK = [dict(type="LoadAnnotations")]


def test_registered():
    assert DATASETS.get("WSSSDataset") is WSSSDataset


@pytest.mark.parametrize("source", ["labels.json", "xml"])
def test_samples_in_the_order_of_the_split(tree, source):
    dataset = make(tree, image_labels=source)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info["img_id"] for info in infos] == ["b", "a"]
    assert infos[0]["img_path"] == str(tree / "img" / "b.jpg")
    assert infos[0]["seg_map_path"] == str(tree / "mask" / "b.png")
    np.testing.assert_array_equal(infos[0]["gt_label"], [0, 1, 1])
    np.testing.assert_array_equal(infos[1]["gt_label"], [1, 0, 0])


def test_absolute_path_of_the_labels(tree, tmp_path):
    path = tmp_path / "elsewhere.json"
    path.write_text(json.dumps({"a": ["bus"], "b": ["bus"]}))
    dataset = make(tree, image_labels=str(path))
    np.testing.assert_array_equal(dataset.get_data_info(0)["gt_label"], [0, 0, 1])


def test_without_image_labels_there_is_no_gt_label(tree):
    dataset = make(tree, image_labels=None, test_mode=True)
    assert "gt_label" not in dataset.get_data_info(0)


def test_without_masks(tree):
    dataset = make(tree, data_prefix=dict(img_path="img"), test_mode=True)
    assert "seg_map_path" not in dataset.get_data_info(0)


def test_without_split_every_image_is_taken(tree):
    dataset = make(tree, ann_file="")
    ids = [dataset.get_data_info(index)["img_id"] for index in range(len(dataset))]
    assert ids == ["a", "b", "c"]


def test_other_image_suffix(tree):
    (tree / "img" / "b.jpg").rename(tree / "img" / "b_photo.JPEG")
    (tree / "split.txt").write_text("b\n")
    dataset = make(tree, img_suffix="_photo.JPEG")
    assert dataset.get_data_info(0)["img_path"].endswith("b_photo.JPEG")


def test_ids_in_sub_folders(tree):
    (tree / "img" / "sub").mkdir()
    (tree / "img" / "a.jpg").rename(tree / "img" / "sub" / "a.jpg")
    (tree / "split.txt").write_text("sub/a\n\n")
    dataset = make(tree, image_labels=None)
    assert [dataset.get_data_info(0)["img_id"]] == ["sub/a"] and len(dataset) == 1


def test_difficult_is_passed_on(tree):
    text = (tree / "xml" / "b.xml").read_text()
    (tree / "xml" / "b.xml").write_text(
        text.replace("<difficult>0</difficult>", "<difficult>1</difficult>", 1)
    )
    dataset = make(tree, image_labels="xml", difficult="drop")
    np.testing.assert_array_equal(dataset.get_data_info(0)["gt_label"], [0, 1, 0])


def test_a_subset_of_the_classes(tree):
    class Pets(WSSSDataset):
        METAINFO = dict(classes=CLASSES)

    dataset = Pets(
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img"),
        metainfo=dict(classes=("background", "dog")),
        image_labels="labels.json",
    )
    assert dataset.label_map == {0: 0, 1: 255, 2: 1, 3: 255}
    np.testing.assert_array_equal(dataset.get_data_info(0)["gt_label"], [1])
    np.testing.assert_array_equal(dataset.get_data_info(1)["gt_label"], [0])


@pytest.mark.parametrize(
    "indices, names",
    [(1, ["b"]), (-1, ["a"]), ([1], ["a"]), ([1, 0], ["a", "b"]), (5, ["b", "a"])],
)
def test_indices(tree, indices, names):
    dataset = make(tree, indices=indices)
    assert [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))] == names


def test_what_indices_leave_out_need_not_be_there(tree):
    (tree / "mask" / "a.png").unlink()
    (tree / "img" / "a.jpg").unlink()
    assert len(make(tree, indices=1, pipeline=LOAD_MASK)) == 1
    with pytest.raises(ValueError, match="missing"):
        make(tree, indices=2, pipeline=LOAD_MASK)


def test_lazy_set_is_checked_when_it_is_filled(tree):
    dataset = make(tree, ann_file="gone.txt", lazy_init=True)
    with pytest.raises(ValueError, match=r"gone\.txt"):
        dataset.full_init()


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_empty_split(tree, text):
    (tree / "split.txt").write_text(text)
    with pytest.raises(ValueError, match=r"split\.txt' is empty"):
        make(tree)


@pytest.mark.parametrize("name", ["gone.txt", "img"])
def test_missing_split(tree, name):
    with pytest.raises(ValueError, match=f"Split file '.*{name}' cannot be read.*data_root"):
        make(tree, ann_file=name)


def test_image_named_twice(tree):
    (tree / "split.txt").write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="names the image 'a' twice"):
        make(tree)


def test_two_words_in_a_line(tree):
    (tree / "split.txt").write_text("img/a.jpg mask/a.png\n")
    with pytest.raises(ValueError, match=r"one image id per line, got the line 'img/a.jpg mask"):
        make(tree)


def test_missing_image_folder(tree):
    with pytest.raises(ValueError, match=r"Image folder '.*photos' .*does not exist"):
        make(tree, data_prefix=dict(img_path="photos"))


def test_missing_images(tree):
    (tree / "split.txt").write_text("a\nx\ny\n")
    with pytest.raises(ValueError, match=r"2 of 3 image files are missing, the first is .*x\.jpg"):
        make(tree)


def test_masks_are_checked_only_where_they_are_loaded(tree):
    (tree / "mask" / "b.png").unlink()
    assert len(make(tree)) == 2
    with pytest.raises(ValueError, match=r"1 of 2 mask files are missing.*b\.png"):
        make(tree, pipeline=LOAD_MASK)
    with pytest.raises(ValueError, match=r"Mask folder '.*none' .*does not exist"):
        make(tree, pipeline=LOAD_MASK, data_prefix=dict(img_path="img", seg_map_path="none"))


def test_image_without_labels(tree):
    (tree / "labels.json").write_text('{"a": ["cat"]}')
    with pytest.raises(ValueError, match="Image without labels: 'b' has no entry"):
        make(tree)


def test_missing_labels(tree):
    with pytest.raises(ValueError, match=r"Image labels '.*none\.json' cannot be read"):
        make(tree, image_labels="none.json")


def test_labels_that_do_not_match_the_classes(tree):
    with pytest.raises(ValueError, match="Unknown class 'dog'"):
        make(tree, metainfo=dict(classes=("background", "cat", "bus")))


@pytest.mark.parametrize("classes", [None, ("background",)])
def test_classes_are_needed(tree, classes):
    metainfo = None if classes is None else dict(classes=classes)
    with pytest.raises(ValueError, match="at least one foreground class"):
        make(tree, metainfo=metainfo)


def _write_sub_labels(tree, table):
    (tree / "sub.json").write_text(json.dumps(table))


def test_sub_categories(tree):
    _write_sub_labels(tree, {"a": {"cat": 2}, "b": {"bus": 0, "dog": 1}})
    dataset = make(tree, sub_labels="sub.json", num_sub=3)
    info = dataset.get_data_info(0)  # b
    np.testing.assert_array_equal(info["gt_sub_label"], [0, 0, 0, 0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(info["gt_label"], [0, 1, 1])
    np.testing.assert_array_equal(dataset.get_data_info(1)["gt_sub_label"].nonzero()[0], [2])
    assert "gt_sub_label" not in make(tree).get_data_info(0)


def test_sub_categories_elsewhere_and_for_a_subset_of_the_classes(tree):
    class Pets(WSSSDataset):
        METAINFO = dict(classes=CLASSES)

    _write_sub_labels(tree, {"a": {"cat": 2}, "b": {"bus": 0, "dog": 9}})
    dataset = Pets(
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img"),
        metainfo=dict(classes=("background", "dog")),
        image_labels="labels.json",
        sub_labels=str(tree / "sub.json"),
    )
    assert dataset.get_data_info(0)["gt_sub_label"].tolist() == [0] * 9 + [1]
    assert dataset.get_data_info(1)["gt_sub_label"].tolist() == [0] * 10


def test_sub_categories_that_do_not_match(tree):
    _write_sub_labels(tree, {"a": {"cat": 2}, "b": {"bus": 0}})
    with pytest.raises(ValueError, match=r"'b' .*class 'dog' has no sub-category"):
        make(tree, sub_labels="sub.json")
    with pytest.raises(ValueError, match=r"'.*gone\.json' cannot be read"):
        make(tree, sub_labels="gone.json")
    with pytest.raises(ValueError, match=r"sub_labels='sub\.json' needs image_labels"):
        make(tree, image_labels=None, sub_labels="sub.json")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_mask_that_cannot_be_read_is_named(tree, data):
    steps = [dict(type="LoadPhoto"), dict(type="LoadAnnotations"), dict(type="PackWSSSInputs")]
    dataset = make(tree, pipeline=steps)
    dataset[1]
    (tree / "mask" / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png'.*replace it"):
        dataset[1]


def test_what_the_machine_lacks_is_no_fault_of_a_mask(tree, monkeypatch):
    def full(self, results):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("afa.datasets.transforms.LoadPhoto.transform", full)
    steps = [dict(type="LoadPhoto"), dict(type="LoadAnnotations")]
    with pytest.raises(OSError, match="Too many open files"):
        make(tree, pipeline=steps)[0]


def test_ids_are_read_as_they_were_written(tmp_path):
    write_split(tmp_path / "a.txt", ["b", "a/c"])
    assert (tmp_path / "a.txt").read_bytes() == b"b\na/c\n"
    assert read_split(tmp_path / "a.txt") == ["b", "a/c"]


def test_empty_lines_spaces_around_and_line_ends_of_windows_do_not_count(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"b \r\n\r\n a\r\n")
    assert read_split(tmp_path / "a.txt") == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\n \n", "is empty: it must name at least one image"),
        (b"a\n/JPEGImages/b.jpg /Mask/b.png\n", "one image id per line, got the line '/JPEGImages"),
        (b"a\nb\na\n", "names the image 'a' twice"),
        (b"\xff\xfe", r"cannot be read .*: do this\."),
        (None, r"cannot be read \(.*No such file.*: do this\."),
    ],
)
def test_what_is_no_split_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read_split(tmp_path / "a.txt", hint="do this")


def test_the_source_of_ids_is_named():
    check_ids(["a", "b"], "folder 'x'")
    with pytest.raises(ValueError, match="The folder 'x' names the image 'a' twice"):
        check_ids(["a", "a"], "folder 'x'")


@pytest.mark.parametrize("img_id", ["../x", "a/../../x", "/etc/passwd", "..\\x", "a//b", "a/"])
def test_ids_that_lead_out_of_a_folder_are_refused(tmp_path, img_id):
    (tmp_path / "train.txt").write_text(f"a/b\n{img_id}\n")
    with pytest.raises(
        ValueError, match=r"train\.txt' has a line that is no image id: The image id"
    ):
        read_split(tmp_path / "train.txt")
    found = []
    assert check_ids(["a/b", img_id], "list", lambda *fault: found.append(fault)) == ["a/b"]
    assert len(found) == 1 and found[0][0] == "split file"


def test_names_of_classes_have_one_spelling(tree):
    classes = ("background", "sea\u00a0lion", "ch\u00e2t")
    xml = "<a><object><name>sea \n lion</name></object><object><name>cha\u0302t</name></object></a>"
    (tree / "xml/a.xml").write_text(xml, encoding="utf-8")
    labels = {"a": ["cha\u0302t\u200b", "sea  lion"]}
    (tree / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    (tree / "split.txt").write_text("a\n")
    for source in ("labels.json", "xml"):
        made = make(tree, image_labels=source, metainfo=dict(classes=classes))
        assert made.metainfo["classes"] == ("background", "sea lion", "ch\u00e2t")
        assert made.get_data_info(0)["gt_label"].tolist() == [1, 1]


def test_photos_of_other_splits_are_there_too(tree):
    made = make(tree)
    assert made.has_photo("c") and not made.has_photo("d")

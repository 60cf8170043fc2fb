import hashlib
import json

import pytest
from toy_coco import CATEGORIES, NAMES, content, write_annotations

from afa.datasets.coco14 import CLASSES
from afa.datasets.prepare.coco14_instances import CocoInstances, iter_array_items
from afa.files.coco_mask import Region


def read(tmp_path, made: dict, split: str = "train") -> CocoInstances:
    return CocoInstances(write_annotations(tmp_path, split, made), CLASSES)


@pytest.fixture
def made() -> dict:
    return content("train")


def test_images_with_objects_in_the_order_of_their_names(tmp_path, made):
    instances = read(tmp_path, made)
    assert [image.img_id for image in instances.images] == [*NAMES][:4]
    assert (instances.num_images, instances.num_annotations, instances.num_crowds) == (5, 12, 2)
    assert instances.images[0][2:] == (30, 40)
    data = instances.path.read_bytes()
    assert instances.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("order", [1, -1])
def test_labels_and_regions_of_each_image(tmp_path, made, order):
    keys = list(made)[::order]  # annotations before images, and after them
    instances = read(tmp_path, {key: made[key] for key in keys})
    numbers = {item["id"]: CLASSES.index(item["name"]) for item in made["categories"]}
    for image in instances.images:
        items = [item for item in made["annotations"] if item["image_id"] == image.key]
        assert instances.regions(image) == [
            Region(numbers[item["category_id"]], item["iscrowd"] == 1, item["segmentation"])
            for item in items
        ]
        assert [CLASSES[label] for label in instances.labels(image)] == NAMES[image.img_id]


def test_annotations_are_counted_per_class(tmp_path, made):
    got = read(tmp_path, made).count_regions()
    assert got == {"person": 3, "dog": 2, "sheep": 2, "cup": 2, "dining table": 1, "toothbrush": 2}


def test_the_ids_of_coco_have_gaps_and_the_labels_have_not():
    assert CATEGORIES[11] == dict(id=13, name="stop sign", supercategory="x")
    assert CLASSES.index("stop sign") == 12 and CATEGORIES[-1]["id"] == 90


def test_missing_and_malformed_files(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"'.*a.json' cannot be read \(No such file.*trainval2014"):
        CocoInstances(path, CLASSES)
    for data, text in [
        (b'{"images": 1, "info": 2 ', r"Malformed annotations .*a.json'.*line 1 column 2\d"),
        (b"[]", r"Expecting '\{'"),
        (b"\xff\xfe", "can't decode"),
        (b"{}", "has no list 'images', or an empty one"),
    ]:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=text):
            CocoInstances(path, CLASSES)


def test_a_list_that_is_missing_empty_or_none(tmp_path, made):
    for part in ("images", "annotations", "categories"):
        for value in ([], {}, None):
            with pytest.raises(ValueError, match=f"no list '{part}', or an empty one"):
                read(tmp_path, {**made, part: value})
        with pytest.raises(ValueError, match=f"an item of its list '{part}' has no '"):
            read(tmp_path, {**made, part: [5]})


@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(("images", key) for key in ("id", "file_name", "height", "width")),
        *(("categories", key) for key in ("id", "name")),
        *(("annotations", k) for k in ("image_id", "category_id", "iscrowd", "segmentation")),
    ],
)
def test_missing_keys_are_named(tmp_path, made, part, key):
    del made[part][1][key]
    with pytest.raises(ValueError, match=f"an item of its list '{part}' has no '{key}'"):
        read(tmp_path, made)


@pytest.mark.parametrize(
    ("part", "key", "value", "text"),
    [
        ("images", "height", 0, "has no pixels"),
        ("images", "width", "40", "the width '40', which is no whole number 0..65535"),
        ("images", "width", 10**6, "which is no whole number"),
        ("images", "id", True, "the id 'True'"),
        ("images", "id", 1, "'images' has the id 1 twice"),
        ("images", "file_name", 5, "a 'file_name' that is no text"),
        ("categories", "id", 2.5, "the id '2.5'"),
        ("categories", "id", 1, "'categories' has the id 1 twice"),
        ("annotations", "iscrowd", 2, "the iscrowd '2', which is no whole number 0..1"),
        ("annotations", "image_id", -1, "the image_id '-1'"),
        ("annotations", "image_id", 10**30, "the image_id '1000"),
        ("annotations", "image_id", 99, "the image_id 99, which the file does not list"),
        ("annotations", "category_id", 12, "the category_id 12, which the file does not list"),
    ],
)
def test_wrong_values_are_named(tmp_path, made, part, key, value, text):
    made[part][2][key] = value
    with pytest.raises(ValueError, match=text) as error:
        read(tmp_path, made)
    assert "instances_train2014.json" in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("../x.jpg", "/etc/x.jpg", "a/x.jpg", "a\\x.jpg", "C:x.jpg", "..jpg", ".jpg", "...jpg"),
        *("x.png", "x", "", "x y.jpg", " x.jpg", "x\n.jpg", "x\0.jpg"),
    ],
)
def test_names_that_are_no_plain_file_are_refused(tmp_path, made, name):
    made["images"][0]["file_name"] = name
    with pytest.raises(ValueError, match=r"is not the name of a \.jpg file without folders"):
        read(tmp_path, made)


def test_two_images_of_one_name(tmp_path, made):
    made["images"][0]["file_name"] = made["images"][1]["file_name"]
    with pytest.raises(ValueError, match="names the image 'COCO_train2014_000000000001' twice"):
        read(tmp_path, made)


def test_other_categories_are_refused(tmp_path, made):
    categories = sorted(made["categories"], key=lambda item: item["id"])
    cases = [
        (categories[:-1], "80 categories .* got 79 with no 'toothbrush'"),
        ([*categories, dict(id=91, name="hair brush")], "got 81 with 'hair brush'"),
        ([dict(categories[0], name="human"), *categories[1:]], "got 80 with 'human'"),
        ([dict(categories[0], id=99), *categories[1:]], "got 80 with another order"),
    ]
    for wrong, text in cases:
        with pytest.raises(ValueError, match=text):
            read(tmp_path, {**made, "categories": wrong})


def test_the_file_is_not_held_as_objects(tmp_path, made):
    instances = read(tmp_path, made)
    image = instances.images[0]
    assert instances.regions(image)[0] is not instances.regions(image)[0]
    assert json.loads(instances._text)["annotations"][0]["category_id"] == 47


CONTENT = {
    "info": {"a": [1, {"b": "]}"}]},
    "images": [{"id": 1, "name": 'x"]}, {'}, {"id": 2}],
    "empty": [],
    "none": None,
    "nested": [[1, 2], "three", 4.5],
}


@pytest.mark.parametrize(
    "text", [json.dumps(CONTENT), json.dumps(CONTENT, indent=2), f"\n {json.dumps(CONTENT)} \r\n"]
)
def test_items_are_those_of_json_and_where_they_stand(text):
    items = list(iter_array_items(text))
    arrays = {key: value for key, value in CONTENT.items() if isinstance(value, list)}
    assert [(item.key, item.value) for item in items] == [
        (key, value) for key, values in arrays.items() for value in values
    ]
    for item in items:
        assert json.loads(text[item.start : item.end]) == item.value


@pytest.mark.parametrize("text", ["{}", " { } ", '{"a": []}', '{"a": [ ], "b": 1}'])
def test_nothing_to_yield(text):
    assert list(iter_array_items(text)) == []


def test_items_come_before_the_text_has_been_read_to_its_end():
    items = iter_array_items('{"a": [1, 2, oops')
    assert [next(items).value, next(items).value] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "1", "{", '{"a"', '{"a":', '{"a": [', '{"a": [1', '{"a": [1,', '{"a": [1}'),
        *('{"a": 1', '{"a": 1,}', '{"a": [1,]}', '{"a": [1 2]}', '{"a": [1]} x', '{"a": [1]]}'),
        *("{1: [2]}", "{,}", '{"a": [1] "b": [2]}', '{"a": nope}', "{'a': [1]}"),
    ],
)
def test_malformed_text_is_told_with_its_place(text):
    with pytest.raises(ValueError, match=r"line 1 column \d+"):
        list(iter_array_items(text))


def test_a_key_twice_and_too_deep_a_nest():
    with pytest.raises(ValueError, match="has 'a' twice"):
        list(iter_array_items('{"a": [1], "a": [2]}'))
    with pytest.raises(ValueError, match="nested too deeply"):
        list(iter_array_items('{"a": [' + "[" * 200_000))

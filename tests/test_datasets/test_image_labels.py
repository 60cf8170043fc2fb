import json
from pathlib import Path

import numpy as np
import pytest

from afa.datasets.image_labels import (
    labels_from_xml,
    load_image_labels,
    load_sub_labels,
    name_sub_labels,
    sub_multi_hot,
    to_multi_hot,
    write_image_labels,
    write_sub_labels,
)

CLASSES = ("background", "cat", "dog", "bus")


def xml(*objects: tuple[str, int]) -> str:
    body = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult></object>"
        for name, difficult in objects
    )
    return f"<annotation>{body}</annotation>"


def json_file(folder: Path, value: object) -> Path:
    path = folder / "labels.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


class TestXML:
    def test_each_class_once_in_the_order_of_the_classes(self, xml_file):
        path = xml_file(xml(("bus", 0), ("cat", 0), ("bus", 1)))
        assert labels_from_xml(path, CLASSES) == ["cat", "bus"]

    def test_difficult_objects(self, xml_file):
        path = xml_file(xml(("bus", 1), ("cat", 0), ("dog", 1)))
        assert labels_from_xml(path, CLASSES) == ["cat", "dog", "bus"]
        assert labels_from_xml(path, CLASSES, difficult="drop") == ["cat"]

    def test_a_class_both_difficult_and_not_is_kept(self, xml_file):
        path = xml_file(xml(("cat", 1), ("cat", 0)))
        assert labels_from_xml(path, CLASSES, difficult="drop") == ["cat"]

    def test_only_difficult_objects(self, xml_file):
        path = xml_file(xml(("cat", 1)))
        with pytest.raises(ValueError, match=r"only difficult objects.*difficult='keep'"):
            labels_from_xml(path, CLASSES, difficult="drop")

    def test_names_of_parts_are_no_classes(self, xml_file):
        path = xml_file(
            "<annotation><object><name>cat</name><part><name>head</name></part></object>"
            "</annotation>"
        )
        assert labels_from_xml(path, CLASSES) == ["cat"]

    def test_no_object(self, xml_file):
        with pytest.raises(ValueError, match="Image without labels: no <object>"):
            labels_from_xml(xml_file(xml()), CLASSES)

    def test_unknown_class_with_the_nearest_right_one(self, xml_file):
        with pytest.raises(ValueError, match=r"Unknown class 'cats' in .*did you mean 'cat'"):
            labels_from_xml(xml_file(xml(("cats", 0))), CLASSES)

    def test_unknown_class_that_is_near_to_nothing(self, xml_file):
        with pytest.raises(ValueError, match="the classes are cat, dog, bus"):
            labels_from_xml(xml_file(xml(("zeppelin", 0))), CLASSES)

    def test_background_is_no_image_label(self, xml_file):
        with pytest.raises(ValueError, match="Unknown class 'background'"):
            labels_from_xml(xml_file(xml(("background", 0))), CLASSES)

    @pytest.mark.parametrize("text", ["", "not xml", "<annotation><object></annotation>"])
    def test_malformed(self, xml_file, text):
        with pytest.raises(ValueError, match="Malformed annotation"):
            labels_from_xml(xml_file(text), CLASSES)

    def test_missing(self, tmp_path):
        with pytest.raises(ValueError, match=r"gone\.xml' cannot be read \(No such file"):
            labels_from_xml(tmp_path / "gone.xml", CLASSES)

    @pytest.mark.parametrize(
        "doctype",
        [
            '<!DOCTYPE a [<!ENTITY x "cat">]>',
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
            '<!DOCTYPE a SYSTEM "a.dtd">',
            "<!DOCTYPE annotation>",
        ],
    )
    def test_document_types_are_refused(self, xml_file, doctype):
        text = f"{doctype}<annotation><object><name>cat</name></object></annotation>"
        with pytest.raises(ValueError, match="DOCTYPE"):
            labels_from_xml(xml_file(text), CLASSES)

    def test_entity_bomb_costs_nothing(self, xml_file):
        levels = "".join(
            f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' if i else '<!ENTITY e0 "lol">'
            for i in range(12)
        )
        text = f"<!DOCTYPE a [{levels}]><annotation>&e11;</annotation>"
        with pytest.raises(ValueError, match="DOCTYPE"):
            labels_from_xml(xml_file(text), CLASSES)

    def test_unknown_treatment_of_difficult(self, xml_file):
        with pytest.raises(ValueError, match="'keep' or 'drop', got 'hide'"):
            labels_from_xml(xml_file(xml(("cat", 0))), CLASSES, difficult="hide")


class TestLoad:
    def test_json_with_and_without_suffix(self, tmp_path):
        path = json_file(tmp_path, {"a": ["dog", "cat"], "b.JPG": ["bus"], "c.v2": ["cat"]})
        assert load_image_labels(path, CLASSES, ["c.v2", "a", "b"]) == {
            "c.v2": ["cat"],
            "a": ["cat", "dog"],
            "b": ["bus"],
        }

    def test_json_and_annotations_agree(self, tree):
        ids = ["a", "b", "c"]
        from_json = load_image_labels(tree / "labels.json", CLASSES, ids)
        assert from_json == load_image_labels(tree / "xml", CLASSES, ids)
        assert from_json == {"a": ["cat"], "b": ["dog", "bus"], "c": ["dog"]}

    def test_only_the_images_asked_for_are_checked(self, tmp_path):
        path = json_file(tmp_path, {"a": ["cat"], "other": ["zeppelin"]})
        assert load_image_labels(path, CLASSES, ["a"]) == {"a": ["cat"]}

    def test_known_classes_that_are_not_asked_for_are_left_out(self, tree):
        got = load_image_labels(
            tree / "labels.json", ("background", "dog"), ["a", "b"], known=CLASSES
        )
        assert got == {"a": [], "b": ["dog"]}

    @pytest.mark.parametrize(
        ("table", "state"), [({"b": ["cat"]}, "no entry"), ({"a": []}, "an empty list")]
    )
    def test_image_without_labels(self, tmp_path, table, state):
        with pytest.raises(ValueError, match=f"Image without labels: 'a' has {state}"):
            load_image_labels(json_file(tmp_path, table), CLASSES, ["a"])

    def test_unknown_class(self, tmp_path):
        path = json_file(tmp_path, {"a": ["cat", "dgo"]})
        with pytest.raises(ValueError, match=r"Unknown class 'dgo' in .*: a': did you mean 'dog'"):
            load_image_labels(path, CLASSES, ["a"])

    def test_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot be read.*JSON file.*or a folder"):
            load_image_labels(tmp_path / "gone.json", CLASSES, ["a"])

    @pytest.mark.parametrize("text", ["", "{", "{'a': 1}"])
    def test_malformed_json(self, tmp_path, text):
        with pytest.raises(ValueError, match="Malformed JSON"):
            load_image_labels(json_file(tmp_path, text), CLASSES, ["a"])

    @pytest.mark.parametrize("value", [["a"], 3, None, "a"])
    def test_json_that_is_no_object(self, tmp_path, value):
        with pytest.raises(ValueError, match="must hold one JSON object"):
            load_image_labels(json_file(tmp_path, json.dumps(value)), CLASSES, ["a"])

    @pytest.mark.parametrize("value", ["cat", 1, [1], {"cat": 1}, None])
    def test_json_values_that_are_no_lists_of_names(self, tmp_path, value):
        with pytest.raises(ValueError, match="value of 'a' is not a list of class names"):
            load_image_labels(json_file(tmp_path, {"a": value}), CLASSES, ["a"])

    @pytest.mark.parametrize("text", ['{"a": ["cat"], "a": ["dog"]}', '{"a": [], "a.jpg": []}'])
    def test_an_image_named_twice(self, tmp_path, text):
        with pytest.raises(ValueError, match="names the image 'a' twice"):
            load_image_labels(json_file(tmp_path, text), CLASSES, ["a"])


class TestMultiHot:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [([], [0, 0, 0]), (["dog"], [0, 1, 0]), (["bus", "cat", "bus"], [1, 0, 1])],
    )
    def test_values(self, names, expected):
        label = to_multi_hot(names, CLASSES)
        assert label.dtype == np.float32
        np.testing.assert_array_equal(label, expected)

    @pytest.mark.parametrize("name", ["background", "buss"])
    def test_unknown_class(self, name):
        with pytest.raises(ValueError, match=f"Unknown class '{name}'"):
            to_multi_hot([name], CLASSES)


def test_written_labels_are_read_again_and_stand_one_image_per_line(tmp_path):
    labels = {"a": ["cat", "dog"], 'k"ä': ["bus"]}
    write_image_labels(tmp_path / "labels.json", labels)
    text = (tmp_path / "labels.json").read_text(encoding="utf-8")
    assert text.splitlines()[1] == '  "a": ["cat", "dog"],' and text.count("\n") == 4
    assert load_image_labels(tmp_path / "labels.json", CLASSES, labels) == labels
    write_image_labels(tmp_path / "labels.json", {})
    assert json.loads((tmp_path / "labels.json").read_text()) == {}


def test_a_difficult_mark_that_is_no_mark(tmp_path):
    path = tmp_path / "a.xml"
    number = "9" * 5000
    path.write_text(f"<a><object><name>cat</name><difficult>{number}</difficult></object></a>")
    assert labels_from_xml(path, ["background", "cat"]) == ["cat"]  # not asked for
    with pytest.raises(ValueError, match=r"a\.xml': <difficult> must be 0 or 1, got '9{20}'\.$"):
        labels_from_xml(path, ["background", "cat"], difficult="drop")


LABELS = {"a": ["cat"], "b": ["dog", "bus"]}
TABLE = {"a": {"cat": 3}, "b": {"dog": 0, "bus": 9}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sub_labels.json"


def test_what_is_written_is_read(path):
    write_sub_labels(path, TABLE)
    assert json.loads(path.read_text()) == TABLE
    assert load_sub_labels(path, LABELS) == TABLE
    assert len(path.read_text().splitlines()) == 4  # one image a line
    assert [file.name for file in path.parent.iterdir()] == ["sub_labels.json"]


def test_numbers_of_numpy_are_written(path):
    write_sub_labels(path, {"a": {"cat": np.int64(2)}})
    assert json.loads(path.read_text()) == {"a": {"cat": 2}}


def test_only_the_images_that_are_wanted(path):
    write_sub_labels(path, TABLE)
    assert load_sub_labels(path, {"b": LABELS["b"]}) == {"b": TABLE["b"]}
    assert load_sub_labels(path, {}) == {}


def test_known_classes_are_left_out(path):
    write_sub_labels(path, TABLE)
    assert load_sub_labels(path, {"b": ["bus"]}, known=CLASSES) == {"b": {"bus": 9}}


def test_result_of_the_clustering_gets_its_names(path):
    sub = np.array([[3, -1, -1], [-1, 0, 9], [-1, -1, -1]])
    assert name_sub_labels(["a", "b", "c"], CLASSES, sub) == {**TABLE, "c": {}}


def test_multi_hot():
    label = sub_multi_hot({"dog": 0, "bus": 1}, CLASSES, num_sub=2)
    assert label.dtype == np.float32
    assert label.tolist() == [0, 0, 1, 0, 0, 1]
    assert sub_multi_hot({"bus": 9}, CLASSES).nonzero()[0].tolist() == [29]
    assert not sub_multi_hot({}, CLASSES).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"b": {"dog": 0, "bus": 0}}', "'a' in .* has no entry; cluster again"),
        ('{"a": {}, "b": {"dog": 0, "bus": 0}}', "'a' .*class 'cat' has no sub-category"),
        ('{"a": {"cat": 0, "bus": 1}}', "sub-category of 'bus', but not the class itself"),
        ('{"a": {"cat": 10}}', r"from 0 to 9 \(num_sub=10\), got 10"),
        ('{"a": {"cat": -1}}', "from 0 to 9 .*got -1"),
        ('{"a": {"cat": true}}', "whole number .*got True"),
        ('{"a": {"cat": 1.5}}', "whole number .*got 1.5"),
        ('{"a": {"cat": {}}}', "whole number"),
        ('{"a": 3}', "entry of 'a' .* must be a JSON object"),
        ('{"a": ["cat"]}', "entry of 'a' .* must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('{"a": {"cat": 0}, "a": {"cat": 1}}', "names the image 'a' twice"),
        ("{", "Malformed JSON"),
        ("[" * 100000, "Malformed JSON"),
    ],
)
def test_wrong_files(path, text, message):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_sub_labels(path, LABELS)


def test_file_that_is_not_there(path):
    with pytest.raises(ValueError, match=r"sub_labels\.json' cannot be read .*clustering"):
        load_sub_labels(path, LABELS)

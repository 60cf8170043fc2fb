import json

import numpy as np
import pytest

from afa.datasets.sub_labels import (
    load_sub_labels,
    name_sub_labels,
    sub_multi_hot,
    write_sub_labels,
)

CLASSES = ("background", "cat", "dog", "bus")
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

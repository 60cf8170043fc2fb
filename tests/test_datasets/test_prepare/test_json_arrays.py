import json

import pytest

from afa.datasets.prepare.json_arrays import iter_array_items

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

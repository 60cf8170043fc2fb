import json

import pytest

from afa.datasets.label_table import read_label_table
from afa.utils.problems import Problems


def table(tmp_path, text, name="labels.csv", report=None, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return read_label_table(path, *([report] if report else []))


def photos(found):
    return [(row.photo, row.labels, row.split) for row in found.rows]


WANTED = [("a b.JPG", ["cat", "dog"], None), ("ü.png", ["sea lion"], None), ("c.jpg", [], None)]


@pytest.mark.parametrize(
    "text",
    [
        "photo,labels\na b.JPG,cat;dog\nü.png,sea lion\nc.jpg,\n",
        "photo,labels\r\na b.JPG,cat|dog\r\nü.png,sea lion\r\nc.jpg,\r\n",
        'photo,labels\n"a b.JPG","cat, dog"\n"ü.png",sea lion\nc.jpg,""\n',
        "photo;labels\na b.JPG;cat,dog\nü.png;sea lion\nc.jpg;\n",
        'photo;labels\na b.JPG;"cat;dog"\nü.png;sea lion;\nc.jpg;;\n',
        "photo\tlabels\na b.JPG\tcat ; dog\nü.png\tsea lion\nc.jpg\t\n",
        "\n\nPhoto , Labels\n\n  a b.JPG ,  cat ;; dog \n\nü.png,sea lion\n,\nc.jpg,\n\n",
        "File,Classes,,\na b.JPG,cat;dog,,\nü.png,sea lion\nc.jpg,\n",
    ],
)
def test_two_columns(tmp_path, text):
    found = table(tmp_path, text)
    assert found.classes is None and photos(found) == WANTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_excel(tmp_path, encoding):
    text = "photo,labels\na b.JPG,cat;dog\nü.png,sea lion\nc.jpg,\n"
    assert photos(table(tmp_path, text, encoding=encoding)) == WANTED


def test_one_column_for_each_class(tmp_path):
    text = "photo,dog,sea lion,cat\na.jpg,1,0,x\nb.jpg,0.0,1.0,\nc.jpg,false,no,0\nd.jpg,TRUE,Yes,1"
    found = table(tmp_path, text)
    assert found.classes == ["dog", "sea lion", "cat"]
    assert [row.labels for row in found.rows] == [
        ["dog", "cat"],
        ["sea lion"],
        [],
        ["dog", "sea lion", "cat"],
    ]


def test_split_and_order_of_columns(tmp_path):
    found = table(tmp_path, "split,labels,image\ntrain,cat,a.jpg\n,dog,b.jpg\n")
    assert photos(found) == [("a.jpg", ["cat"], "train"), ("b.jpg", ["dog"], "")]
    found = table(tmp_path, "photo,Split,cat\na.jpg,val,1\n")
    assert found.classes == ["cat"] and photos(found) == [("a.jpg", ["cat"], "val")]


def test_json(tmp_path):
    content = {
        "a b.JPG": ["cat", " dog "],
        "ü.png": {"labels": ["sea lion"], "split": "val"},
        "c.jpg": {"labels": []},
    }
    for ascii_only, encoding in ((True, "utf-8"), (False, "utf-8-sig")):
        text = json.dumps(content, ensure_ascii=ascii_only)
        found = table(tmp_path, text, "labels.JSON", encoding=encoding)
        assert photos(found) == [
            ("a b.JPG", ["cat", "dog"], None),
            ("ü.png", ["sea lion"], "val"),
            ("c.jpg", [], None),
        ]


def test_json_keeps_an_entry_that_is_there_twice(tmp_path):
    found = table(tmp_path, '{"a": ["cat"], "a": ["dog"]}', "labels.json")
    assert photos(found) == [("a", ["cat"], None), ("a", ["dog"], None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "are empty: write 'photo,labels'"),
        ("\n \n", "are empty"),
        ("a.jpg,cat\nb.jpg,dog\n", "no column 'photo', got a.jpg, cat: write"),
        ("photo\na.jpg\n", "neither a column 'labels' nor one for a class"),
        ("photo,labels,spilt\n", "a column 'spilt' beside 'labels'"),
        ("photo,cat,,dog\n", "Column 3 of .* has no name"),
        ("photo,labels\na.jpg,cat,dog\n", "line 2 has 3 columns, the header has 2: put several"),
        ("photo;labels\n\na.jpg;cat;dog\n", "line 3 has 3 columns"),
        ("photo,labels\na.jpg\n", "line 2 has 1 columns"),
        ("photo,cat\na.jpg,2\n", "line 2: 'cat' must be 0 or 1, got '2'"),
        ('photo,labels\n"a.jpg,cat\nb.jpg,dog\n', "no proper CSV in line 3"),
        ("photo,labels\nä.jpg,cat\n".encode("latin-1"), "not UTF-8 text .*'CSV UTF-8'"),
        (b"\xff\xfep", "not UTF-8 text"),
    ],
)
def test_faults_of_csv(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        table(tmp_path, text)
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Malformed JSON"),
        ("[]", "must hold one JSON object .*got another JSON value"),
        ('{"a.jpg": "cat"}', "the value of 'a.jpg' is neither"),
        ('{"a.jpg": [1]}', "is neither"),
        ('{"a.jpg": {"labels": ["cat"], "fold": 1}}', "is neither"),
        ('{"a.jpg": {"split": "val"}}', "is neither"),
    ],
)
def test_faults_of_json(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, "labels.json")


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"labels\.csv' cannot be read \(No such file"):
        read_label_table(tmp_path / "labels.csv")


def test_rows_with_faults_are_gathered_and_left_out(tmp_path):
    problems = Problems()
    found = table(tmp_path, "photo,cat\na.jpg,1\nb.jpg\nc.jpg,?\nd.jpg,0\n", report=problems)
    assert [row.photo for row in found.rows] == ["a.jpg", "c.jpg", "d.jpg"]
    assert problems.count == 2 and set(problems.found) == {"labels file"}
    problems = Problems()
    found = table(tmp_path, '{"a": 1, "b": ["cat"]}', "labels.json", report=problems)
    assert photos(found) == [("b", ["cat"], None)] and problems.count == 1

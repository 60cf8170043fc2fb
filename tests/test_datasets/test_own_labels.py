import json

import pytest

from afa.datasets.faults import Faults
from afa.datasets.own_labels import (
    find_labels_file,
    hold_out,
    photo_stem,
    read_label_table,
    read_own_labels,
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_alphabet_orders_the_classes_of_a_column_of_labels(write):
    own = read_own_labels(write("photo,labels,split\nb.jpg,dog;cat;dog,val\na.jpg,,Train\n"))
    assert own.classes == ("background", "cat", "dog")
    assert own.photos == [("b.jpg", ("cat", "dog"), "val"), ("a.jpg", (), "train")]


def test_header_orders_the_classes_that_have_columns(write):
    own = read_own_labels(write("photo,dog,cat,ant,split\na.jpg,1,1,0,test\n"))
    assert own.classes == ("background", "dog", "cat", "ant")
    assert own.photos == [("a.jpg", ("dog", "cat"), "test")]


@pytest.mark.parametrize("first", ["", "background\n", "\ufeff"])
def test_classes_txt_orders_and_may_have_more(write, first):
    write(first + "dog\n\ncat\r\nsea lion\n", "classes.txt")
    own = read_own_labels(write('{"a.jpg": ["cat", "dog"]}', "labels.json"))
    assert own.classes == ("background", "dog", "cat", "sea lion")
    assert own.photos[0].labels == ("dog", "cat")


def test_names_below_the_folder(write):
    own = read_own_labels(write("photo,labels\nsub\\a b.jpg,x\n./c.jpg,x\nno suffix.v2,x\n"))
    assert [photo.name for photo in own.photos] == ["sub/a b.jpg", "c.jpg", "no suffix.v2"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.jpg", "a"), ("b c/d.e.JPEG", "b c/d.e"), ("x.v2", "x.v2"), ("y", "y"), ("z.WebP", "z")],
)
def test_photo_stem(name, stem):
    assert photo_stem(name) == stem


HEAD = "photo,labels,split\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "../a.jpg,x,train\n", r"line 2: the name of the photo leaves .*'\.\./a\.jpg'"),
        (HEAD + "/etc/a.jpg,x,train\n", "leaves the folder"),
        (HEAD + ",x,train\n", "line 2: the name of the photo is empty"),
        (HEAD + "a.jpg,x,train\n\na.jpg,x,val\n", "line 4 names 'a.jpg', and line 2 .*keep one"),
        (HEAD + "a.jpg,x,train\na.PNG,x,val\n", "'a.PNG', and line 2 'a.jpg': .*rename one"),
        (HEAD + "a.jpg,x,\n", "line 2: the split must be train, val or test, got ''"),
        (HEAD + "a.jpg,x,dev\n", "must be train, val or test, got 'dev'"),
        (HEAD, "name no photo"),
        (HEAD + "a.jpg,,train\n", "has 0 classes: there must be 1 to 254"),
        (HEAD + "a.jpg,Cat,train\nb.jpg,cat,train\n", "'cat' of .* is all but 'Cat': keep one"),
        (HEAD + "a.jpg,background,train\n", "class 'background', which every photo has"),
        ("photo,cat,cat\na.jpg,1,0\n", "class 'cat' of .* is there twice"),
        (
            "photo," + ",".join(f"c{i}" for i in range(255)) + "\na," + ",".join("1" * 255),
            "has 255 classes",
        ),
    ],
)
def test_faults(write, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_own_labels(write(text))
    assert "\n" not in str(caught.value)


def test_unknown_class_names_the_nearest(write):
    write("cat\ndog\n", "classes.txt")
    with pytest.raises(ValueError, match=r"Unknown class 'dgo' in .*line 2: did you mean 'dog'"):
        read_own_labels(write("photo,labels\na.jpg,dgo\n"))
    with pytest.raises(ValueError, match=r"Unknown class 'zebra' .*add it to classes.txt"):
        read_own_labels(write("photo,labels\na.jpg,zebra\n"))


def test_all_faults_are_gathered(write):
    write("cat\nCat\n", "classes.txt")
    text = (
        "photo,labels,split\na.jpg,cat,no\na.png,cat,val\n../b,cat,val\nc.jpg,rat;bat,val\nd,cat\n"
    )
    problems = Faults()
    own = read_own_labels(write(text), problems)
    assert {kind: len(lines) for kind, lines in problems.found.items()} == {
        "labels file": 1,
        "photo named twice": 1,
        "photo name": 1,
        "class name": 1,
        "unknown class": 2,
        "split": 1,
    }
    assert own.classes == ("background", "cat")
    assert own.photos == [("a.jpg", ("cat",), "train"), ("c.jpg", (), "val")]


def test_a_fifth_is_held_out_where_nothing_is_said(write):
    names = [f"{number}.jpg" for number in range(20)]
    text = "photo,labels\n" + "".join(f"{name},cat\n" for name in names)
    own = read_own_labels(write(text))
    val = {photo.name for photo in own.photos if photo.split == "val"}
    assert len(val) == 4 and {photo.split for photo in own.photos} == {"train", "val"}
    # Neither the order of the file nor where it lies matters, and JSON gives what CSV gives.
    table = {name: ["cat"] for name in reversed(names)}
    own = read_own_labels(write(json.dumps(table), "other.json"))
    assert {photo.name for photo in own.photos if photo.split == "val"} == val


def test_choice_is_pinned():
    """What was validation yesterday must not become training after an upgrade."""
    photos = [(f"IMG {number:04}.JPG", ["cat"]) for number in range(10)]
    assert hold_out(photos) == {"IMG 0005.JPG", "IMG 0009.JPG"}


def test_each_kind_of_labels_gives_its_share():
    kinds = [["cat"]] * 50 + [["dog"]] * 30 + [["cat", "dog"]] * 10 + [[]] * 10
    photos = [(f"{number}.jpg", labels) for number, labels in enumerate(kinds)]
    numbers = [int(name.partition(".")[0]) for name in hold_out(photos)]
    counts = [sum(low <= n < high for n in numbers) for low, high in ((0, 50), (50, 80), (80, 90))]
    assert counts == [10, 6, 2] and len(numbers) == 20
    assert sorted(numbers)[:10] != list(range(10))


def test_last_photo_of_a_class_stays_for_training():
    photos = [("a", ["cat"]), ("b", ["cat", "dog"]), ("c", ["cat"]), ("d", ["bird"]), ("e", [])]
    chosen = hold_out(photos, share=1.0)
    assert "b" not in chosen and "d" not in chosen and chosen == {"a", "c", "e"}


def test_labels_file_is_found(tmp_path, write):
    with pytest.raises(ValueError, match=r"no '.*labels\.csv' or '.*labels\.json'.*set data_root"):
        find_labels_file(tmp_path)
    write("{}", "labels.json")
    assert find_labels_file(str(tmp_path)) == tmp_path / "labels.json"
    write("", "labels.csv")
    with pytest.raises(ValueError, match="There are both"):
        find_labels_file(tmp_path)
    assert find_labels_file(tmp_path, "labels.csv") == tmp_path / "labels.csv"
    with pytest.raises(ValueError, match=r"no '.*mine\.csv'"):
        find_labels_file(tmp_path, "mine.csv")


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
    problems = Faults()
    found = table(tmp_path, "photo,cat\na.jpg,1\nb.jpg\nc.jpg,?\nd.jpg,0\n", report=problems)
    assert [row.photo for row in found.rows] == ["a.jpg", "c.jpg", "d.jpg"]
    assert problems.count == 2 and set(problems.found) == {"labels file"}
    problems = Faults()
    found = table(tmp_path, '{"a": 1, "b": ["cat"]}', "labels.json", report=problems)
    assert photos(found) == [("b", ["cat"], None)] and problems.count == 1


@pytest.mark.parametrize(
    "text",
    [
        'photo, labels\na.jpg, "cat;dog"\nb.jpg, \'sea lion\'\nc.jpg, ""\n',
        "photo,labels\na.jpg,cat\uff1bdog\nb.jpg,sea\u00a0\u200blion\nc.jpg,\u00a0\n",
        "photo\uff0clabels\na.jpg\uff0ccat\u3001dog\nb.jpg\uff0csea  lion\nc.jpg\uff0c\n",
        "sep=;\nphoto;labels\na.jpg;cat,dog\nb.jpg;sea lion\nc.jpg;\n",
        '\n"sep=,"\r\nphoto,labels\r\na.jpg,cat;dog\r\nb.jpg,sea lion\r\nc.jpg,\r\n',
        "SEP=\t\nphoto\tlabels\na.jpg\tcat;dog\nb.jpg\tsea lion\nc.jpg\t\n",
        "photo,labels\na.jpg,\"['cat', 'dog']\"\nb.jpg,['sea lion']\nc.jpg,[]\n",
        'photo,labels\na.jpg,"[""cat"", ""dog""]"\nb.jpg,[sea lion]\nc.jpg,[ ]\n',
        "photo;labels\na.jpg;'cat','dog'\nb.jpg;'sea lion'\nc.jpg;''\n",
        "photo;labels\na.jpg;'cat,dog'\nb.jpg;sea\tlion;\nc.jpg;;\n",
    ],
)
def test_labels_that_are_clear_are_read(tmp_path, text):
    wanted = [("a.jpg", ["cat", "dog"], None), ("b.jpg", ["sea lion"], None), ("c.jpg", [], None)]
    assert photos(table(tmp_path, text)) == wanted


def test_lines_are_counted_with_that_of_the_separator(tmp_path):
    with pytest.raises(ValueError, match="line 3 has 1 columns"):
        table(tmp_path, "sep=;\nphoto;labels\na.jpg\n")


def test_a_name_has_one_spelling_in_every_kind_of_file(write):
    for text, name in (
        ("photo,labels\na.jpg,cha\u0302t\nb.jpg,ch\u00e2t\u200b\n", "labels.csv"),
        ("photo,cha\u0302t\na.jpg,1\nb.jpg,0\n", "columns.csv"),
        ('{"a.jpg": ["cha\u0302t"], "b.jpg": ["\u00a0ch\u00e2t"]}', "labels.json"),
    ):
        assert read_own_labels(write(text, name)).classes == ("background", "ch\u00e2t")
    write("\u200bcha\u0302t\u00a0\n", "classes.txt")
    own = read_own_labels(write("photo,labels\na.jpg,ch\u00e2t\n"))
    assert own.classes == ("background", "ch\u00e2t") and own.photos[0].labels == ("ch\u00e2t",)


def test_names_in_classes_txt_are_names_whatever_they_look_like(write):
    write("cat\ndog\ncat/dog\ncat dog\nnan\n", "classes.txt")
    own = read_own_labels(write("photo,labels\na.jpg,cat/dog;nan\nb.jpg,cat dog\n"))
    assert [photo.labels for photo in own.photos] == [("cat/dog", "nan"), ("cat dog",)]
    with pytest.raises(ValueError, match=r"line 2: 'None' is no class name: leave the labels"):
        read_own_labels(write("photo,labels\na.jpg,None\n"))


def test_columns_are_classes_whatever_signs_they_have(write):
    own = read_own_labels(write("photo,cat,dog,cat/dog,cat dog\na.jpg,0,0,1,1\n"))
    assert own.photos[0].labels == ("cat/dog", "cat dog")
    with pytest.raises(ValueError, match=r"The column '-' of .* is no class"):
        read_own_labels(write("photo,cat,-\na.jpg,0,1\n"))


def test_all_odd_labels_and_classes_made_of_others_are_gathered(write):
    text = "photo,labels\na,cat\nb,dog\nc,cat dog\nd,nan\ne,cat/dog\nf,dog cat\n"
    problems = Faults()
    own = read_own_labels(write(text), problems)
    assert {kind: len(found) for kind, found in problems.found.items()} == {
        "class name": 2,
        "class made of others": 2,
    }
    assert problems.found["class made of others"][0] == "'cat dog' is made of cat and dog"
    assert own.photos[3].labels == () and own.photos[2].labels == ("cat dog",)


def test_one_class_may_be_called_as_a_mark(write):
    own = read_own_labels(write("photo,labels\na.jpg,x\nb.jpg,1\n"))
    assert own.classes == ("background", "1", "x")

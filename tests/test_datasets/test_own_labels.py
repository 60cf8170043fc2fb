import json

import pytest

from afa.datasets.own_labels import find_labels_file, hold_out, photo_stem, read_own_labels
from afa.utils.problems import Problems


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
    problems = Problems()
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

import pytest

from afa.utils.class_names import (
    beside,
    clean_name,
    clean_names,
    look,
    made_of_others,
    nearest_name,
    stands_for_nothing,
    why_no_name,
)

LOOKS_LIKE_CAT = "\u0441\u0430t"  # two letters are Cyrillic


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("cat", "cat"),
        ("  sea \t lion\r\n", "sea lion"),
        ("sea\u00a0lion", "sea lion"),  # no-break space
        ("sea\u3000\u2009lion", "sea lion"),  # wide and thin space
        ("\ufeffc\u200ba\u200dt\u2060", "cat"),  # zero-width: mark of order, space, joiners
        ("sea \u200b lion", "sea lion"),
        ("c\u00adat\u202e\ufe0f", "cat"),  # soft hyphen, direction, variation
        ("cha\u0302t", "ch\u00e2t"),  # two characters, as macOS writes it
        ("cha\u200d\u0302t", "ch\u00e2t"),
        ("\u1100\u1161", "\uac00"),  # Hangul in parts
        ("\ud800", ""),
        ("\u200b\u00a0", ""),
        ("Cat", "Cat"),  # another spelling, which messages compare
        ("\U0001f408", "\U0001f408"),
    ],
)
def test_one_spelling(written, name):
    assert clean_name(written) == name and clean_name(name) == name


def test_names_of_several_classes():
    assert clean_names(["a\u00a0b", "c"], "x") == ("a b", "c")
    with pytest.raises(ValueError, match="x has the class 'a' twice: keep one"):
        clean_names(["a", "a"], "x")
    with pytest.raises(ValueError, match="'a' twice, in two spellings that look the same: keep"):
        clean_names(["a", "a\u200b"], "x")
    with pytest.raises(ValueError, match="x must have the names of classes, got 3"):
        clean_names(["a", 3], "x")


def test_names_that_look_the_same():
    assert look(LOOKS_LIKE_CAT) == look("CAT") == look("\uff43\uff41\uff54") == "cat"
    assert look("ch\u00e2t") != look("chat") and look("dog") != look("cat")
    assert beside(LOOKS_LIKE_CAT, "dog", "cat") == f"'{LOOKS_LIKE_CAT}' (\\u0441\\u0430t)"
    assert beside("cat", LOOKS_LIKE_CAT) == "'cat'" and beside("cat", "Cat") == "'cat'"
    assert beside("ch\u00e2t", "chat") == "'ch\u00e2t'"  # a reader sees the difference


def test_the_name_that_was_meant():
    assert nearest_name(LOOKS_LIKE_CAT, ["cap", "cat"]) == "cat"
    assert nearest_name("catt", ["dog", "cat"]) == "cat"
    assert nearest_name("bus", ["dog", "cat"]) == ""


@pytest.mark.parametrize("text", ["nan", "NaN", "None", "NULL", "n/a", "#N/A", "<NA>", "-", "--"])
def test_what_stands_for_nothing(text):
    assert stands_for_nothing(text) and "leave the labels" in why_no_name(text)


@pytest.mark.parametrize(
    "text",
    ["cat/dog", "cat\\dog", "cat & dog", "cat+dog", "['cat'", "[]x", "{cat}", "cat;dog", "cat|dog"]
    + ["'cat'", '"cat', "cat=1", "<cat>", "\u201ecat\u201c", "`cat`"],
)
def test_text_that_is_no_name(text):
    assert "write ';' or '|'" in why_no_name(text)


@pytest.mark.parametrize(
    "name",
    ["cat", "sea lion", "T-shirt", "bird's nest", "dog (small)", "cat_2", "7", "\u732b", "nano"]
    + ["\U0001f408", "a.b", "St. Bernard", "no: 5"],
)
def test_names(name):
    assert why_no_name(name) is None


def test_names_made_of_others():
    names = ["cat", "dog", "cat dog", "dog-cat", "cat and dog", "polar bear", "Polar Bear, Cat"]
    assert made_of_others(names) == {
        "cat dog": ["cat", "dog"],
        "dog-cat": ["dog", "cat"],
        "cat and dog": ["cat", "dog"],
        "Polar Bear, Cat": ["polar bear", "cat"],
    }
    assert made_of_others(["hot dog", "dog", "traffic light", "hot-dog", "and", "?"]) == {}
    assert made_of_others([]) == {}
    assert list(made_of_others(["a", "a " * 50]).values()) == [["a"] * 50]
    assert made_of_others(["a", "a " * 50000]) == {}  # at once

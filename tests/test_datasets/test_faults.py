import pytest

from afa.datasets.faults import Faults, raise_fault


def test_refuse_raises_the_sentence():
    with pytest.raises(ValueError, match=r"^All wrong\.$"):
        raise_fault("kind", "All wrong.", ["a", "b"])


def test_faults_are_gathered_by_kind_in_one_line_each():
    problems = Faults()
    assert problems.count == 0
    problems("colour", "too\n  red")
    problems("missing", "2 are missing, the first is a", ["a", "b"])
    problems("colour", "too blue")
    problems("colour", "too red")  # again: two splits may read one file
    assert problems.found == {"colour": ["too red", "too blue"], "missing": ["a", "b"]}
    assert problems.count == 4
    assert problems.lines(limit=5) == [
        "colour: too red",
        "colour: too blue",
        "missing: a",
        "missing: b",
    ]


def test_long_lists_are_cut_and_counted():
    problems = Faults()
    for number in range(1203):
        problems("missing", str(number))
    assert problems.lines(limit=2) == ["missing: 0", "missing: 1", "missing: ... and 1,201 more"]

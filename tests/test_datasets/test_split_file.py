import pytest

from afa.datasets.split_file import check_ids, read_split, write_split


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

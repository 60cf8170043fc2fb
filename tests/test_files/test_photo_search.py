import os
from pathlib import Path

import pytest

from afa.files.photo_search import PhotoFile, find_photos, unread_photos


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path

    return make


def names(*inputs, **kwargs):
    return [photo.name for photo in find_photos([str(item) for item in inputs], **kwargs)]


def test_photos_of_a_folder_and_its_sub_folders_by_any_suffix(folder):
    root = folder("b.JPG", "a.png", "sub/x y.webp", "sub/deep/c.tiff", "notes.txt", "._b.jpg")
    assert names(root) == ["a", "b", "sub/deep/c", "sub/x y"]
    assert find_photos([root])[1] == PhotoFile(root / "b.JPG", "b")


def test_a_photo_that_is_named_may_end_in_anything(folder):
    root = folder("scan", "dir.x/p.jpg", "we[i]rd.jpg")
    assert names(root / "scan", root / "dir.x/p.jpg") == ["p", "scan"]
    assert names(root / "we[i]rd.jpg") == ["we[i]rd"]


def test_patterns(folder):
    root = folder("a1.jpg", "a2.jpg", "b.jpg", "s/a3.jpg", "s/t/a4.jpg", "a5.txt")
    assert names(f"{root}/a*") == ["a1", "a2"]
    assert names(f"{root}/a[2-9]*.jpg") == ["a2"]
    assert names(f"{root}/**/a*.jpg") == ["a1", "a2", "s/a3", "s/t/a4"]
    assert names(f"{root}/s*") == ["s/a3", "s/t/a4"]  # a folder that matches
    assert names(f"{root}/**") == ["a1", "a2", "b", "s/a3", "s/t/a4"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["a.jpg", "s/a.png"], ["a", "s/a"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.jpg.png", "a.png"]),
        (["a.b.jpg", "a.jpg"], ["a", "a.b"]),
    ],
)
def test_no_two_photos_have_one_name(folder, files, expected):
    assert names(folder(*files)) == expected


def test_photos_of_one_name_in_two_inputs_are_named_from_the_folder_in_common(folder):
    root = folder("x/a.jpg", "y/a.jpg", "y/b.jpg")
    assert names(root / "x", root / "y") == ["x/a", "y/a", "y/b"]
    assert names(root / "x/a.jpg", root / "y/a.jpg") == ["x/a", "y/a"]


def test_each_file_comes_once(folder):
    root = folder("a.jpg", "b.jpg")
    assert names(root, root / "a.jpg", f"{root}/*.jpg") == ["a", "b"]
    os.symlink(root, root / "loop")
    os.symlink(root / "a.jpg", root / "c.jpg")
    assert names(root) == ["a", "b"]


def test_a_folder_behind_a_link_is_walked(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "far.jpg").write_bytes(b"")
    root = folder("a.jpg")
    os.symlink(other, root / "link")
    assert names(root) == ["a", "link/far"]


def test_earlier_results_are_left_out(folder, monkeypatch):
    root = folder("a.jpg", "out/overlays/a.jpg", "outer/b.jpg")
    assert names(root, leave_out=root / "out") == ["a", "outer/b"]
    assert names(f"{root}/**/*.jpg", leave_out=root / "out") == ["a", "outer/b"]
    monkeypatch.chdir(root)
    assert names(".", leave_out="out") == ["a", "outer/b"]
    assert find_photos(["a.jpg"]) == [PhotoFile(Path("a.jpg"), "a")]


def test_what_is_not_there_is_said(folder):
    root = folder("notes.txt", "a.jpg", "sub/n.txt")
    with pytest.raises(FileNotFoundError, match=r"no photo or folder '.*/nowhere\.jpg'"):
        find_photos([root / "a.jpg", root / "nowhere.jpg"])
    for nothing in (root / "sub", f"{root}/*.png"):
        with pytest.raises(ValueError, match=r"no photo in '.*': photos are files that end in"):
            find_photos([nothing])


def test_photos_of_kinds_that_are_not_read_are_found(folder):
    root = folder(
        "a.jpg", "b.HEIC", "sub/c.cr2", "sub/c.png", "d.nef", "._e.heic", "out/f.dng", "x.txt"
    )
    found = [root / "b.HEIC", root / "d.nef"]  # c.cr2 lies beside a photo of its name
    assert unread_photos([root], leave_out=root / "out") == found
    assert unread_photos([f"{root}/*"], leave_out=root / "out") == found
    assert unread_photos([root, f"{root}/*.HEIC"], leave_out=root / "out") == found
    assert unread_photos([root / "b.HEIC", root / "a.jpg"]) == []  # is taken for a photo
    assert names(root, leave_out=root / "out") == ["a", "sub/c"]


def test_a_folder_of_other_kinds_alone_says_so(folder):
    with pytest.raises(ValueError, match="2 are of kinds that are not read: convert them to JPEG"):
        find_photos([folder("b.HEIC", "sub/c.cr2", "d.txt")])

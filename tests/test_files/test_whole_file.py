import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from afa.files import whole_file
from afa.files.whole_file import (
    read_json,
    read_json_object,
    safe_join,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_replaces_what_was_there_and_nothing_stays_beside(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old and long")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.bin"]
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"


def test_a_stop_leaves_the_old_file_whole_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def stop(*arguments):
        assert path.read_text() == "old"  # the new text is written beside it
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_file.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_processes_do_not_share_the_file_beside(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(whole_file.os, "replace", lambda part, path: seen.append(part.name))
    for pid in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        write_text(tmp_path / "a", "x")
    assert seen == ["a.11.part", "a.12.part"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere" / "a", "x")


def test_json_has_plain_numbers_and_null_for_what_is_not_finite(tmp_path):
    content = dict(
        a=np.float32(0.5),
        b=float("nan"),
        c=[torch.tensor(2), float("inf"), True, None],
        d={1: "x"},
        e=np.array([[1.0, np.nan]]),
    )
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == dict(
        a=0.5, b=None, c=[2, None, True, None], d={"1": "x"}, e=[[1.0, None]]
    )
    with pytest.raises(TypeError):
        write_json(tmp_path / "b.json", {"a": object()})
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("image_id", ["2007_000032", "a.b", "cats/one", "..a", "a b", "käse"])
def test_ids_inside_the_folder(tmp_path, image_id):
    assert safe_join(tmp_path, image_id, ".png") == tmp_path / f"{image_id}.png"


@pytest.mark.parametrize(
    "image_id", ["", ".", "..", "../a", "a/../../b", "/etc/a", "a/", "a//b", "..\\a", "a\0b"]
)
def test_ids_that_leave_the_folder_are_refused(tmp_path, image_id):
    with pytest.raises(ValueError, match="is no name inside a folder"):
        safe_join(tmp_path, image_id, ".png")


def test_json_from_anywhere(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, "x"]}')
    assert read_json(path) == {"a": [1, "x"]}
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
    for broken in (b"", b"{", b"\xff\xfe\x00", b"[" + b"9" * 5000 + b"]"):
        path.write_bytes(broken)
        with pytest.raises(ValueError):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "no.json")


def test_an_object_that_is_not_there_or_broken_is_empty(tmp_path):
    path = tmp_path / "a.json"
    assert read_json_object(path) == {}
    for text, found in (("{", {}), ("[1]", {}), ('{"a": 1}', {"a": 1}), ("[" * 10**5, {})):
        path.write_text(text)
        assert read_json_object(path) == found

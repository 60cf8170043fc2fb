import json

import numpy as np
import pytest
import torch

from afa.apis.label_folder import LabelFolder
from afa.evaluation.threshold_sweep import write_counts
from afa.utils.label_png import write_label_png
from afa.utils.maps_npz import write_maps

SETTINGS = dict(tool="pseudo_labels", kind="cam", background_scores=[0.45], crf=None)


def _fill(folder, img_id):
    folder.make_parents([img_id])
    write_label_png(folder.file("labels", img_id), np.zeros((2, 3), np.uint8))
    write_maps(folder.file("maps", img_id), [1], np.zeros((1, 2, 3)), (2, 3))
    counts = torch.zeros(2, 3, 4, dtype=torch.int64)
    write_counts(folder.file("sweep", img_id), [0.1, 0.2], counts)


def test_an_image_is_finished_when_all_that_is_wanted_is_whole(tmp_path):
    folder = LabelFolder(tmp_path / "out")
    folder.prepare(SETTINGS)
    assert not folder.is_finished("a")
    _fill(folder, "a")
    assert folder.is_finished("a", with_maps=True, scores=[0.1, 0.2])
    assert not folder.is_finished("a", scores=[0.1, 0.3])  # another sweep
    path = folder.file("maps", "a")
    path.write_bytes(path.read_bytes()[:-9])
    assert folder.is_finished("a") and not folder.is_finished("a", with_maps=True)
    path = folder.file("labels", "a")
    path.write_bytes(path.read_bytes()[:-9])
    assert not folder.is_finished("a")


def test_the_same_settings_go_on_and_others_are_refused(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    _fill(folder, "a")
    folder.prepare(dict(SETTINGS))
    assert folder.is_finished("a")
    other = dict(SETTINGS, kind="par", background_scores=[0.3])
    text = (
        r"made with other settings \(kind was cam, now par, "
        r"background_scores was \[0.45\], now \[0.3\]\): give another folder .* --overwrite"
    )
    with pytest.raises(ValueError, match=text):
        folder.prepare(other)
    assert folder.is_finished("a")


def test_overwrite_removes_what_is_there_before_new_settings_stand(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    _fill(folder, "a")
    _fill(folder, "sub/b")
    (tmp_path / "notes.txt").write_text("mine")
    folder.prepare(dict(SETTINGS, kind="par"), overwrite=True)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".npz")]
    assert json.loads((tmp_path / "settings.json").read_text())["kind"] == "par"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_stop_while_overwriting_can_be_overwritten_again(tmp_path, monkeypatch):
    folder, new = LabelFolder(tmp_path), dict(SETTINGS, kind="par")
    folder.prepare(SETTINGS)
    _fill(folder, "a")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("afa.apis.label_folder.write_json", full)
    with pytest.raises(OSError, match="no space left"):
        folder.prepare(new, overwrite=True)
    monkeypatch.undo()
    assert not folder.is_finished("a")
    with pytest.raises(ValueError, match="kind was cam, now par"):
        folder.prepare(new)
    folder.prepare(new, overwrite=True)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.png").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"has a folder 'labels', but no settings.json"):
            LabelFolder(tmp_path).prepare(SETTINGS, overwrite)
    assert (tmp_path / "labels/a.png").read_bytes() == b"precious"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        LabelFolder(tmp_path / "file").prepare(SETTINGS)


@pytest.mark.parametrize("img_id", ["../a", "/etc/a", "a/../../b", "", "a/"])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path, img_id):
    with pytest.raises(ValueError, match="no name inside a folder"):
        LabelFolder(tmp_path).file("labels", img_id)


def test_tidy_removes_half_files_and_empty_folders(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    write_label_png(folder.file("labels", "a"), np.zeros((2, 3), np.uint8))
    half = tmp_path / "labels" / "b.png.123.part"
    half.write_bytes(b"half")
    folder.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "settings.json"]
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a.png"]
    folder.prepare(SETTINGS)
    assert folder.is_finished("a")

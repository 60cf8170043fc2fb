import json
import os

import numpy as np
import pytest

from afa.apis.prediction_folder import PredictionFolder
from afa.files.label_png import read_label_png
from afa.files.photo import read_photo

LABEL = np.array([[0, 1], [2, 255]], np.uint8)
PICTURE = np.full((8, 8, 3), (200, 30, 30), np.uint8)


@pytest.fixture
def folder(tmp_path):
    folder = PredictionFolder(tmp_path / "out")
    folder.prepare(dict(model="m", crf=False), [])
    return folder


def write(folder, name="sub/a", cams=("cat",)):
    record = dict(
        label=folder.write_label(name, LABEL, [[0, 0, 0], [9, 9, 9]]),
        overlay=folder.write_overlay(name, PICTURE),
        cams={cls: folder.write_cam(name, i, cls, PICTURE) for i, cls in enumerate(cams, 1)},
    )
    folder.write_record(name, record)
    return record


def test_files_lie_where_the_record_says(folder):
    record = write(folder, cams=("cat", "big cat/lion"))
    assert record == dict(
        label="labels/sub/a.png",
        overlay="overlays/sub/a.jpg",
        cams={"cat": "cams/sub/a/01_cat.jpg", "big cat/lion": "cams/sub/a/02_big_cat_lion.jpg"},
    )
    assert folder.read("sub/a") == record
    assert (read_label_png(folder.path / record["label"]) == LABEL).all()
    for place in (record["overlay"], *record["cams"].values()):
        shown = read_photo(folder.path / place)[..., ::-1].astype(int)
        assert np.abs(shown - PICTURE).max() < 12  # RGB, as JPEG
    assert json.loads((folder.path / "predict.json").read_text()) == dict(model="m", crf=False)


def test_a_record_counts_only_with_all_its_files(folder):
    for place in ("labels/sub/a.png", "overlays/sub/a.jpg", "cams/sub/a/01_cat.jpg"):
        write(folder)
        (folder.path / place).unlink()
        assert folder.read("sub/a") == {}
    write(folder)
    for text in ("{", "[]", '{"label": 3}'):
        (folder.path / "json/sub/a.json").write_text(text)
        assert folder.read("sub/a") == {}
    assert folder.read("never") == {}


def test_cams_of_a_photo_are_removed_and_nothing_else(folder, tmp_path):
    write(folder)
    write(folder, "sub/a/01_cat")  # a photo in a folder of that name
    stranger = folder.path / "cams/sub/a/note.txt"
    stranger.write_text("keep")
    record = json.loads((folder.path / "json/sub/a.json").read_text())
    victim = tmp_path / "victim.jpg"
    victim.write_text("keep")
    record["cams"]["dog"] = "../victim.jpg"
    folder.write_record("sub/a", record)
    folder.remove_cams("sub/a")
    assert not (folder.path / "cams/sub/a/01_cat.jpg").exists()
    assert victim.exists() and stranger.exists() and folder.read("sub/a/01_cat")
    folder.remove_cams("never")


def test_the_same_settings_go_on_and_others_are_refused(folder):
    write(folder)
    again = PredictionFolder(folder.path)
    again.prepare(dict(model="m", crf=False), [])
    with pytest.raises(ValueError, match=r"made with other settings \(crf\): give another folder"):
        again.prepare(dict(model="m", crf=True), [])
    again.prepare(dict(model="m", crf=True), [], overwrite=True)
    assert json.loads((folder.path / "predict.json").read_text())["crf"] is True
    assert again.read("sub/a")  # what is not predicted again stays


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(ValueError, match=r"has a folder 'labels', but no predict\.json"):
        PredictionFolder(tmp_path).prepare({}, [], overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["labels"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        PredictionFolder(tmp_path / "file").prepare({}, [])


def test_the_folder_of_the_photos_is_refused(tmp_path):
    photo = tmp_path / "sub/a.jpg"
    for out in (tmp_path, tmp_path / "sub"):
        with pytest.raises(ValueError, match=r"photo '.*a\.jpg' lies in '.*', the folder for"):
            PredictionFolder(out).prepare({}, [photo])
    PredictionFolder(tmp_path / "sub/out").prepare({}, [photo])
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_names_that_leave_the_folder_are_refused(folder):
    with pytest.raises(ValueError, match="no name inside a folder"):
        folder.write_label("../a", LABEL, [])

import json
import os

import cv2
import numpy as np
import pytest
import torch
from toy_predict import CLASSES, PALETTE, draw_photo, write_checkpoint, write_config, write_photos

from afa.apis import PredictOptions, inference_model, init_model, predict, predict_photos
from afa.apis.predict import PredictionFolder
from afa.files.label_png import read_label_png
from afa.files.photo import read_photo
from afa.files.photo_search import find_photos
from afa.visualization import draw_segments


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return init_model(write_config(folder), write_checkpoint(folder), "cpu")


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos/sub").mkdir(parents=True)
    for name, seed in {"a.png": 1, "sub/a.png": 2, "b.png": 3}.items():
        cv2.imwrite(str(tmp_path / "photos" / name), draw_photo(seed=seed))
    return find_photos([tmp_path / "photos"])


def record(out, name):
    return json.loads((out / f"json/{name}.json").read_text())


def test_every_kind_of_photo_gives_its_files(model, tmp_path):
    names = write_photos(tmp_path / "photos")
    out = tmp_path / "out"
    summary = predict_photos(
        model, find_photos([tmp_path / "photos"]), out, PredictOptions(opacity=0.4)
    )
    assert (summary.num_done, summary.num_skipped, summary.left_out) == (len(names), 0, [])
    for name in names:
        photo = read_photo(tmp_path / "photos" / name)
        label = inference_model(model, photo).pred_sem_seg.data[0].numpy()
        found = record(out, name.rsplit(".")[0])
        assert found["photo"] == name and (found["height"], found["width"]) == photo.shape[:2]
        assert (read_label_png(out / found["label"]) == label).all()
        overlay = draw_segments(photo[..., ::-1], label, CLASSES, PALETTE, 0.4)
        shown = read_photo(out / found["overlay"])[..., ::-1].astype(int)
        assert shown.shape == overlay.shape
        assert np.abs(shown - overlay).mean() < 4  # JPEG
        assert "cams" not in found
    assert not (out / "cams").exists()


def test_the_record_has_scores_shares_and_predicted_classes(model, photos, tmp_path):
    predict_photos(model, photos, tmp_path / "out")
    for photo in photos:
        result = inference_model(model, photo.path)
        found = record(tmp_path / "out", photo.name)
        assert found["photo"] == f"{photo.name}.png"  # with its sub-folder
        label = result.pred_sem_seg.data[0].numpy()
        scores = dict(zip(CLASSES[1:], result.pred_label.tolist(), strict=True))
        assert found["scores"] == pytest.approx(scores, abs=1e-4)
        over = [name for name in CLASSES[1:] if scores[name] > 0.5]
        assert found["predicted"] == sorted(over, key=lambda name: -scores[name])
        shares = {CLASSES[i]: (label == i).mean() for i in range(4) if (label == i).any()}
        assert found["pixel_share"] == pytest.approx(shares, abs=1e-6)


def test_cams_of_predicted_or_given_classes(model, photos, tmp_path):
    out = tmp_path / "out"
    predict_photos(model, photos, out, PredictOptions(cam=True))
    for photo in photos:
        found = record(out, photo.name)
        assert sorted(found["cams"]) == sorted(found["predicted"])
        assert all((out / place).is_file() for place in found["cams"].values())
    out = tmp_path / "given"
    predict_photos(model, photos, out)
    given = PredictOptions(cam=True, classes=("dog", "big cat/lion"))
    assert predict_photos(model, photos, out, given).num_done == 3
    folder = out / "cams/sub/a"
    assert sorted(path.name for path in folder.iterdir()) == ["02_dog.jpg", "03_big_cat_lion.jpg"]
    assert predict_photos(model, photos, out, given).num_skipped == 3
    assert predict_photos(model, photos, out).num_skipped == 3  # what is wanted is there
    assert record(out, "sub/a")["cams"]["dog"] == "cams/sub/a/02_dog.jpg"


@pytest.mark.parametrize("kind", ["cam", "par", "propagated"])
def test_label_maps_of_a_kind_with_a_threshold(model, photos, tmp_path, kind):
    options = PredictOptions(kind=kind, cls_thr=0.3)
    summary = predict_photos(model, photos, tmp_path / "out", options)
    assert summary.num_done == 3 and summary.num_classless == 0 and not summary.note
    for photo in photos:
        result = inference_model(model, photo.path, kind=kind, cls_thr=0.3)
        label = result.get(f"pred_{kind}").data[0].numpy()
        found = record(tmp_path / "out", photo.name)
        assert (read_label_png(tmp_path / "out" / found["label"]) == label).all()
        assert found["label_map"] == f"pred_{kind}" and found["made_with"]["kind"] == kind
        assert set(found["predicted"]) == {n for n, s in found["scores"].items() if s > 0.3}
    with pytest.raises(ValueError, match=r"made with other settings \(kind\)"):
        predict_photos(model, photos, tmp_path / "out", PredictOptions(cls_thr=0.3))


def test_photos_without_a_class_are_said(model, photos, tmp_path):
    options = PredictOptions(cam=True, kind="par", cls_thr=1.0)
    summary = predict_photos(model, photos, tmp_path / "out", options)
    assert summary.num_classless == 3
    assert summary.note == (
        "3 of them have no class above 1; their label maps are all background; their CAM is "
        "that of the best class (a lower --cls-thr finds more)."
    )
    for photo in photos:
        found = record(tmp_path / "out", photo.name)
        assert found["predicted"] == [] and found["pixel_share"] == {"background": 1.0}
        assert list(found["cams"]) == [max(found["scores"], key=found["scores"].get)]
    assert predict_photos(model, photos, tmp_path / "out", options).num_skipped == 3


def test_what_is_complete_is_skipped_and_the_rest_made_again(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    predict_photos(model, photos[:1], out)
    seen = []
    real = predict.inference_model
    monkeypatch.setattr(predict, "inference_model", lambda *args: seen.append(1) or real(*args))
    summary = predict_photos(model, photos, out)
    assert (summary.num_done, summary.num_skipped, len(seen)) == (2, 1, 2)
    (out / "overlays/b.jpg").unlink()
    assert predict_photos(model, photos, out).num_done == 1
    assert predict_photos(model, photos, out, overwrite=True).num_done == 3
    assert len(seen) == 6


def test_a_stop_leaves_nothing_that_counts_as_complete(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict, "draw_segments", stop)
        with pytest.raises(KeyboardInterrupt):
            predict_photos(model, photos, out)
    assert not list(out.rglob("*.part")) and not (out / "json").exists()
    assert predict_photos(model, photos, out).num_done == 3


def test_other_weights_and_settings_are_not_mixed(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    predict_photos(model, photos, out)
    with pytest.raises(ValueError, match=r"other settings \(opacity\)"):
        predict_photos(model, photos, out, PredictOptions(opacity=0.2))
    other = init_model(write_config(tmp_path), write_checkpoint(tmp_path, seed=5), "cpu")
    with pytest.raises(ValueError, match=r"other settings \(model\)"):
        predict_photos(other, photos, out)
    # An --overwrite that is stopped: what it has not reached does not count as made by it.
    real = predict.inference_model
    calls = []

    def stop_at_the_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "inference_model", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            predict_photos(other, photos, out, overwrite=True)
    summary = predict_photos(other, photos, out)
    assert (summary.num_done, summary.num_skipped) == (2, 1)
    assert {record(out, photo.name)["made_with"]["model"] for photo in photos} == {
        json.loads((out / "predict.json").read_text())["model"]
    }


def test_faults_are_one_line_each_and_the_rest_goes_on(model, photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    photos = find_photos([folder])
    (folder / "b.png").unlink()
    summary = predict_photos(model, photos, tmp_path / "out")
    assert summary.num_done == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Left out: {sentence}" for sentence in summary.left_out]
    for line, text in zip(
        lines, ["cannot be read", "truncated or broken", "empty file", "no picture of"], strict=True
    ):
        assert text in line
    told = []
    predict_photos(model, photos, tmp_path / "out", report=told.append)
    assert told == summary.left_out


def test_another_photo_of_the_same_name_is_no_prediction_of_it(model, photos, tmp_path):
    out = tmp_path / "out"
    predict_photos(model, photos, out)
    before = (out / "labels/b.png").read_bytes()
    cv2.imwrite(str(tmp_path / "photos/b.png"), draw_photo(seed=9))
    summary = predict_photos(model, photos, out)
    assert (
        summary.num_skipped == 2
        and "is another one than that of the prediction 'b'" in (summary.left_out[0])
    )
    assert (out / "labels/b.png").read_bytes() == before
    assert predict_photos(model, photos, out, overwrite=True).num_done == 3


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "80 x 60 pixels needs more memory than"),
        (MemoryError(), "try another device"),
        (cv2.error("resize"), "does not pass the test pipeline"),
    ],
)
def test_a_photo_too_large_or_thin_is_left_out(model, photos, tmp_path, monkeypatch, error, text):
    def fail(*args):
        raise error

    monkeypatch.setattr(predict, "inference_model", fail)
    summary = predict_photos(model, photos[:1], tmp_path / "out", report=str)
    assert summary.num_done == 0 and text in summary.left_out[0]


def test_crf_labels_are_what_is_written(model, photos, tmp_path):
    pytest.importorskip("pydensecrf")
    predict_photos(model, photos[:1], tmp_path / "out", PredictOptions(crf=True))
    label = inference_model(model, photos[0].path, crf=True).pred_crf.data[0].numpy()
    found = record(tmp_path / "out", "a")
    assert (read_label_png(tmp_path / "out" / found["label"]) == label).all()
    assert found["made_with"]["crf"] is True


def test_wrong_wishes_are_said_before_anything_is_written(model, photos, tmp_path):
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        PredictOptions(opacity=1.5)
    with pytest.raises(ValueError, match="ask for CAMs"):
        PredictOptions(classes=("dog",))
    with pytest.raises(ValueError, match="no class 'dgo'; did you mean 'dog'"):
        predict_photos(model, photos, tmp_path / "out", PredictOptions(cam=True, classes=("dgo",)))
    with pytest.raises(ValueError, match="the folder for the results"):
        predict_photos(model, photos, tmp_path / "photos")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_model_that_only_segments(model, photos, tmp_path, monkeypatch):
    def segment_only(*args):
        result = inference_model(*args)
        del result.pred_label
        return result

    monkeypatch.setattr(predict, "inference_model", segment_only)
    predict_photos(model, photos[:1], tmp_path / "out")
    found = record(tmp_path / "out", "a")
    assert "scores" not in found
    assert found["predicted"] == [name for name in found["pixel_share"] if name != "background"]


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

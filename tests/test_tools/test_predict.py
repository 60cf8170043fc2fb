import json
from functools import partial

import cv2
import pytest
import torch
from mmengine.config import Config
from toy_hub import COMMIT, REPO, hub_at
from toy_predict import draw_photo, write_checkpoint, write_config

from afa.engine.checkpoints.carried_config import plain_config
from afa.utils import hub


@pytest.fixture
def run(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "predict.py")


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "photos/sub").mkdir(parents=True)
    for name, seed in {"a.jpg": 1, "a.png": 2, "sub/b.JPG": 3}.items():
        cv2.imwrite(str(tmp_path / "photos" / name), draw_photo(seed=seed))
    return write_config(tmp_path), write_checkpoint(tmp_path)


def test_folder_and_second_run(run, toy, tmp_path):
    out = tmp_path / "photos/out"  # below the photos, where a second run must not look
    args = (*toy, tmp_path / "photos", "--out", out, "--device", "cpu")
    status, said, _ = run(*args)
    assert status == 0 and f"Predicted 3 photos into {out}." in said
    labels = sorted(path.relative_to(out).as_posix() for path in (out / "labels").rglob("*.png"))
    assert labels == ["labels/a.jpg.png", "labels/a.png.png", "labels/sub/b.png"]
    status, said, _ = run(*args, "--cam", "--labels", "dog, cat")
    assert status == 0 and "Predicted 3 photos" in said
    assert set(json.loads((out / "json/sub/b.json").read_text())["cams"]) == {"cat", "dog"}
    status, said, _ = run(*args)
    assert status == 0 and "Predicted 0 photos" in said and "3 were there already" in said
    status, said, _ = run(*args, "--overwrite")
    assert status == 0 and "Predicted 3 photos" in said


def test_weights_of_the_hub_are_enough(run, run_main, toy, tmp_path, monkeypatch):
    config, checkpoint = toy
    exported = tmp_path / "model.safetensors"
    assert run_main("model_converters/export.py", checkpoint, exported, "--config", config)[0] == 0
    photo, outs = tmp_path / "photos/a.jpg", (tmp_path / "one", tmp_path / "two")
    assert run(config, checkpoint, photo, "--out", outs[0], "--device", "cpu")[0] == 0
    with hub_at({"model.safetensors": exported.read_bytes()}, tmp_path, monkeypatch):
        address = f"hf://{REPO}/model.safetensors"
        said = []
        monkeypatch.setattr(hub, "_log", said.append)
        assert run(address, photo, "--out", outs[1], "--device", "cpu")[0] == 0
        (line,) = said  # once, although config and weights are read one after the other
        assert "no licence stated" in line and f"hf://{REPO}@{COMMIT}/model.safetensors" in line
        status, _, error = run(f"hf://{REPO}/model.pth", photo, "--out", outs[1])
        assert status == 2 and "model.pth' is refused: from the hub" in error
    label_maps = [(out / "labels/a.png").read_bytes() for out in outs]
    assert label_maps[0] == label_maps[1]


def test_a_checkpoint_that_carries_its_config_is_enough(run, toy, tmp_path):
    config, checkpoint = toy
    photo = tmp_path / "photos/a.jpg"
    args = (photo, "--out", tmp_path / "out", "--device", "cpu")
    status, _, error = run(checkpoint, *args)
    assert status == 2 and "carries no config" in error and "CONFIG CHECKPOINT" in error
    state = torch.load(checkpoint, weights_only=True)
    state["meta"]["plain_config"] = plain_config(Config.fromfile(config))
    torch.save(state, checkpoint)
    status, said, error = run(checkpoint, *args)
    assert status == 0 and "Predicted 1 photos" in said, error
    status, said, _ = run(*toy, *args)  # the same prediction: nothing is to be done
    assert status == 0 and "1 were there already" in said
    status, _, error = run(checkpoint)
    assert status == 2 and "There is no photo among the arguments" in error


def test_pattern_option_and_faults(run, toy, tmp_path):
    (tmp_path / "photos/broken.jpg").write_bytes(b"broken")
    pattern = f"{tmp_path}/photos/*.jpg"
    out = tmp_path / "out"
    option = ("--cfg-options", "model.test_cfg.cls_thr=0.0", "--opacity", "0.3")
    status, said, error = run(*toy, pattern, "--out", out, "--device", "cpu", *option)
    assert status == 1 and "Predicted 1 photos" in said
    lines = error.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Left out: Photo")
    assert lines[1] == "1 of 2 photos were left out."
    assert len(json.loads((out / "json/a.json").read_text())["predicted"]) == 3  # above 0 is all


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (["{config}", "{checkpoint}", "nowhere"], 2, "There is no photo or folder 'nowhere'"),
        (["nowhere.py", "{checkpoint}", "{photo}"], 2, "no config file 'nowhere.py'"),
        (["{config}", "nowhere.pth", "{photo}"], 2, "checkpoint nowhere.pth does not exist"),
        (["{config}", "{photo}", "{photo}"], 2, "cannot be read: it is incomplete, or not a file"),
        (["{config}", "{other}", "{photo}"], 1, "was trained for 4 classes"),
        (["{config}", "{checkpoint}", "{photo}", "--device", "tpx"], 2, "device must be"),
        (["{config}", "{checkpoint}", "{photo}", "--opacity", "2"], 2, "between 0 and 1"),
        (["{config}", "{checkpoint}", "{photo}", "--labels", "dog"], 2, "ask for CAMs (--cam)"),
        (["{config}", "{checkpoint}", "{photo}", "--cam", "--labels", "dgo"], 2, "mean 'dog'"),
        (["{config}", "{checkpoint}", "{photo}", "--out", "{photos}"], 2, "lies in"),
        (["{config}", "{checkpoint}", "{photo}", "--cfg-options", "a"], 2, "wants KEY=VALUE"),
    ],
)
def test_wrong_input_is_one_sentence(run, toy, tmp_path, args, status, text):
    names = dict(
        config=toy[0],
        checkpoint=toy[1],
        other=write_checkpoint(tmp_path, "other.pth", classes=("background", "x", "y", "z")),
        photo=tmp_path / "photos/a.jpg",
        photos=tmp_path / "photos",
    )
    if "--out" not in args:
        args = [*args, "--out", str(tmp_path / "out")]
    got, _, error = run(*[arg.format(**names) for arg in args])
    assert got == status and text in error
    assert error.count("\n") == 2  # the sentence, and how to see more
    assert not (tmp_path / "out").exists()


def test_photos_of_a_kind_that_is_not_read_are_counted_and_named(run, toy, tmp_path):
    (tmp_path / "photos/sub/c.heic").write_bytes(b"x")
    args = (tmp_path / "photos", "--out", tmp_path / "out", "--device", "cpu")
    status, said, error = run(*toy, *args)
    assert status == 1 and "Predicted 3 photos" in said
    assert f"Left out: '{tmp_path}/photos/sub/c.heic' is of a kind that is not read" in error
    assert "1 of 4 photos were left out." in error

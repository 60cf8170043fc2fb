import json
import runpy
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_hub import COMMIT, REPO, hub_at
from toy_photos import make_cfg, write_checkpoint, write_photos

from afa.engine.checkpoints.carried_config import plain_config
from afa.files import crf
from afa.files.label_png import bit_palette

VOC_CLASSES = ("background", "aeroplane", "bicycle", "bird")
VOC_MINI = Path(__file__).resolve().parents[3] / "shared/data/voc12-mini"
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@pytest.fixture
def tool(repo, tmp_path, monkeypatch, capfd):
    """Run tools/test.py in this process, where the imports are; give status, stdout and stderr."""
    write_checkpoint(tmp_path / "model.pth")
    monkeypatch.delenv("AFA_DEBUG", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")

    def run(cfg, *args):
        cfg.dump(tmp_path / "config.py")
        command = ["test.py", tmp_path / "config.py", tmp_path / "model.pth", *args]
        monkeypatch.setattr(sys, "argv", [str(arg) for arg in command])
        status = 0
        try:
            runpy.run_path(str(repo / "tools/test.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        said = capfd.readouterr()
        return status, said.out, said.err

    return run


def test_weights_of_the_hub_are_enough(run_main, voc, tmp_path, monkeypatch):
    cfg, _ = voc
    cfg.dump(tmp_path / "config.py")
    write_checkpoint(tmp_path / "model.pth")
    exported, out = tmp_path / "model.safetensors", tmp_path / "figures.json"
    given = (tmp_path / "model.pth", exported, "--config", tmp_path / "config.py")
    assert run_main("model_converters/export.py", *given)[0] == 0
    monkeypatch.chdir(tmp_path)
    assert run_main("test.py", tmp_path / "config.py", *given[:1], "--out-json", out)[0] == 0
    wanted = json.loads(out.read_text())
    assert run_main("test.py", exported, "--out-json", out)[0] == 0  # a file of this disk
    assert json.loads(out.read_text()) == wanted and (tmp_path / "model_test").is_dir()
    with hub_at({"a/best.safetensors": exported.read_bytes()}, tmp_path, monkeypatch):
        address = f"hf://{REPO}/a/best.safetensors"
        assert run_main("test.py", address, "--out-json", out)[0] == 0
    assert json.loads(out.read_text()) == wanted
    (report,) = (tmp_path / "work_dirs/best_test").glob("*/test.json")
    pinned = f"hf://{REPO}@{COMMIT}/a/best.safetensors"
    assert json.loads(report.read_text())["checkpoint"] == pinned


@pytest.fixture
def voc(tmp_path):
    """Config of a test on made-up photos as VOC, and their ids."""
    ids = write_photos(tmp_path / "data", 3)
    cfg = make_cfg(tmp_path / "data", tmp_path / "work")
    dataset = cfg.test_dataloader.dataset
    dataset.type, dataset.metainfo = "VOC12Dataset", dict(classes=VOC_CLASSES)
    labels = {img_id: ["bird"] for img_id in ids}
    (tmp_path / "data/image_labels.json").write_text(json.dumps(labels))
    return cfg, ids


def test_a_checkpoint_that_carries_its_config_is_enough(repo, voc, tmp_path, monkeypatch, capfd):
    cfg, _ = voc
    write_checkpoint(tmp_path / "model.pth")
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    state["meta"] = dict(plain_config=plain_config(cfg))
    torch.save(state, tmp_path / "model.pth")
    monkeypatch.setenv("LOCAL_RANK", "0")
    command = ["test.py", tmp_path / "model.pth", "--work-dir", tmp_path / "alone"]
    monkeypatch.setattr(sys, "argv", [str(arg) for arg in command])
    runpy.run_path(str(repo / "tools/test.py"), run_name="__main__")
    (report,) = (tmp_path / "alone").glob("*/test.json")
    assert "seg/mIoU" in report.read_text()
    assert not (tmp_path / "work").exists()  # where a training's results lie is its own affair


def _check_archive(path, photos, folder):
    """Unpack an archive; look at names, sizes and palette as the server would."""
    with tarfile.open(path, "r:gz") as tar:
        tar.extractall(folder, filter="data")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [str(path.relative_to(folder)) for path in found] == [
        f"{FOLDER}/{photo.stem}.png" for photo in sorted(photos)
    ]
    for path, photo in zip(found, sorted(photos), strict=True):
        with Image.open(path) as label, Image.open(photo) as image:
            assert label.mode == "P" and label.size == image.size
            palette = np.array(label.getpalette()).reshape(-1, 3)
            assert palette[:21].tolist() == bit_palette(21)
            assert np.asarray(label).max() <= 20


def test_figures_in_a_file_beside_the_log(tool, voc, tmp_path):
    cfg, ids = voc
    status, out, err = tool(
        cfg, "--crf", "--crf-workers", 1, "--tta", "--out-json", tmp_path / "f/o.json"
    )
    assert status == 0, err
    assert "per class results" in out and "| aeroplane" in out
    (path,) = (tmp_path / "work").glob("*/test.json")
    assert f"Figures, options and versions are in {path}" in out
    report = json.loads(path.read_text())
    assert {"seg/mIoU", "crf/mIoU", "crf/IoU.bird"} <= set(report["figures"])
    assert report["num_images"] == len(ids) and report["num_processes"] == 1
    assert report["options"]["crf"] and report["crf"]["bi_xy_std"] == 64
    assert report["crf"]["num_workers"] == 1 and report["crf"]["label_thr"] == 0.02
    assert report["tta"] == dict(scales=[0.5, 0.75, 1.0, 1.25, 1.5], flip=True, merge="max")
    assert report["checkpoint"].endswith("model.pth") and "torch" in report["versions"]
    assert report["seconds"] > 0 and report["device"] == "CPU"
    assert json.loads((tmp_path / "f/o.json").read_text()) == report["figures"]


def test_format_only_unpacks_to_what_the_server_asks_for(tool, voc, tmp_path):
    cfg, ids = voc
    status, out, err = tool(cfg, "--format-only", "--out", tmp_path / "server")
    assert status == 0, err
    photos = [tmp_path / f"data/JPEGImages/{img_id}.jpg" for img_id in ids]
    assert f"3 label maps are in {tmp_path / 'server'}" in out
    archive = tmp_path / "server/results.tar.gz"
    _check_archive(archive, photos, tmp_path / "unpacked")
    status, _, err = tool(cfg, "--format-only", "--out", tmp_path / "server")
    assert status == 2 and "results.tar.gz' is there from an earlier run" in err
    assert tool(cfg, "--format-only", "--out", tmp_path / "server", "--overwrite")[0] == 0


def test_format_only_for_a_set_without_truth(tool, voc, tmp_path):
    cfg, ids = voc
    data = tmp_path / "data"
    (data / "image_labels.json").unlink()
    for path in (data / "SegmentationClassAug").iterdir():
        path.unlink()
    (data / "SegmentationClassAug").rmdir()
    (data / "ImageSets/test.txt").write_text("\n".join(ids[:2]) + "\n")
    status, _, err = tool(cfg, "--split", "test", "--format-only")
    assert status == 0, err
    photos = [data / f"JPEGImages/{img_id}.jpg" for img_id in ids[:2]]
    _check_archive(tmp_path / "work/format-test/results.tar.gz", photos, tmp_path / "unpacked")
    status, _, err = tool(cfg, "--split", "test")
    assert status == 2 and "--format-only" in err and "Traceback" not in err


@pytest.mark.skipif(not VOC_MINI.is_dir(), reason="needs ../shared/data/voc12-mini")
def test_format_only_on_voc12_mini(tool, tmp_path):
    cfg = make_cfg(VOC_MINI, tmp_path / "work", model__cls_head__num_classes=21)
    cfg.model.decode_head.num_classes = 21
    cfg.test_dataloader.dataset.update(
        type="VOC12Dataset", ann_file="ImageSets/SegmentationAug/val.txt", indices=4
    )
    cfg.test_dataloader.dataset.pop("metainfo")
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        cfg.pop(key)
    cfg.test_dataloader.dataset.pipeline[1].scale = (64, 64)
    write_checkpoint(tmp_path / "model.pth", num_classes=21)
    status, _, err = tool(cfg, "--format-only")
    assert status == 0, err
    ids = (VOC_MINI / "ImageSets/SegmentationAug/val.txt").read_text().split()[:4]
    photos = [VOC_MINI / f"JPEGImages/{img_id}.jpg" for img_id in ids]
    _check_archive(tmp_path / "work/format-val/results.tar.gz", photos, tmp_path / "unpacked")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--crf", "--crf-workers", "-2"], "--crf-workers must be 0 or more, got -2"),
        (["--tta-merge", "mean"], "--tta-merge has no effect without --tta"),
        (["--out", "here"], "--out has no effect without --format-only"),
        (["--split", "tset"], "There is no list 'tset.txt'"),
        (["--cfg-options", "model.test_cfg.crf.bi_std=3", "--crf"], "no argument 'bi_std'"),
    ],
)
def test_wrong_options_are_one_sentence(tool, voc, args, text):
    status, _, err = tool(voc[0], *args)
    assert status == 2 and text in err and "Traceback" not in err


def test_no_masks(tool, voc, tmp_path):
    for path in (tmp_path / "data/SegmentationClassAug").iterdir():
        path.unlink()
    status, _, err = tool(voc[0])
    assert status == 2 and "3 of 3 mask files are missing" in err and "--format-only" in err


def test_nothing_to_measure(tool, voc):
    cfg, _ = voc
    dataset = cfg.test_dataloader.dataset
    dataset.image_labels = None
    dataset.pipeline = [step for step in dataset.pipeline if step.type != "LoadAnnotations"]
    status, _, err = tool(cfg)
    assert status == 2 and "neither masks nor image labels; --format-only" in err


def test_missing_pydensecrf(tool, voc, monkeypatch):
    monkeypatch.setattr(crf.importlib.util, "find_spec", lambda name: None)
    status, _, err = tool(voc[0], "--crf")
    assert status == 2 and "pip install pydensecrf2" in err and "Traceback" not in err

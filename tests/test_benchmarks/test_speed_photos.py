import json

import cv2
import numpy as np
import pytest
import torch

from afa.files.label_png import write_label_png
from speed_parts import build_setup
from speed_photos import (
    FIELDS,
    _plain_result,
    build_set,
    crf_case,
    loading_times,
    validation_case,
)

NAMES = ("a", "b")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two photos of one dog each, in VOC's layout."""
    folder = tmp_path_factory.mktemp("voc")
    for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/SegmentationAug"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        photo = rng.integers(0, 255, (40, 56, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"JPEGImages/{name}.jpg"), photo)
        label = np.zeros((40, 56), np.uint8)
        label[10:30, 10:30] = 12
        write_label_png(folder / f"SegmentationClassAug/{name}.png", label)
    for split in ("train_aug", "val"):
        text = "\n".join(NAMES) + "\n"
        (folder / f"ImageSets/SegmentationAug/{split}.txt").write_text(text)
    (folder / "image_labels.json").write_text(json.dumps({name: ["dog"] for name in NAMES}))
    return str(folder)


def test_loading_is_timed_step_by_step(root):
    found = loading_times(root, num_photos=5)
    notes = found["notes"]
    assert notes["photos"] == 2 and next(iter(notes["steps"])) == "LoadPhoto"
    assert {"RandomScale", "RandomFlip", "RandomCropPad", "PackWSSSInputs"} < set(notes["steps"])
    assert min(notes["decoding"], notes["mean"]) > 0 and found["ours"]["runs"] == 2


def test_crf_case_computes_in_processes_and_here(root):
    pytest.importorskip("pydensecrf")
    case = crf_case(root, num_photos=2, processes=0)
    case.ours()
    case.reference()
    assert case.title.startswith("Dense CRF, 2 photos, 3 of 21 labels, 0 processes")
    assert case.target == (5, 10) and not case.counted


def test_validation_runs_both_ways_and_leaves_the_model_in_training(root, monkeypatch):
    monkeypatch.setattr("speed_photos.build_set", _small(root))
    setup = build_setup(crop=64, batch=1, arch="b0")
    setup.model.refiner.num_iters = 2
    case = validation_case(setup, root, num_photos=1)
    case.ours()
    case.reference()
    assert setup.model.training and "1 photos" in case.title


def _small(root):
    """Build the set with photos at 64 pixels."""

    def build(data_root, split="val"):
        dataset = build_set(root, split)
        for step in dataset.pipeline.transforms:
            if hasattr(step, "scale"):
                step.scale = (64, 64)
        return dataset

    return build


def test_plain_labels_are_those_of_the_model(root):
    setup = build_setup(crop=64, batch=1, arch="b0")
    model = setup.model.eval()
    model.refiner.num_iters = 2
    model.test_cfg = type(model.test_cfg)(pseudo_labels=True)
    dataset = _small(root)(root)

    def batch():
        item = dataset[0]
        return dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]])

    with torch.no_grad():
        (ours,) = model.test_step(batch())
        for field in FIELDS[1:]:
            plain = _plain_result(model, model.data_preprocessor(batch(), False), field)
            same = plain.get(field).data == ours.get(field).data
            assert same.shape == (1, 40, 56) and same.float().mean() > 0.99, field
        plain = _plain_result(model, model.data_preprocessor(batch(), False), "pred_label")
        torch.testing.assert_close(plain.pred_label, ours.pred_label, rtol=1e-3, atol=1e-4)

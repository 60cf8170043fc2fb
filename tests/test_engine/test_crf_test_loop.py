from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmseg.registry import METRICS
from PIL import Image
from toy_photos import make_cfg, write_checkpoint, write_photos

from afa.datasets import LoadPhoto
from afa.engine import crf_test_loop
from afa.engine.runner import build_runner
from afa.engine.test_options import EvaluationOptions
from afa.files import crf
from afa.files.crf import CRFSettings, dense_crf

CRF = dict(num_iters=3, bi_rgb_std=20, label_thr=0.0)


@METRICS.register_module()
class _Keep(BaseMetric):
    """Keep what the loop hands to metrics, in its order."""

    kept: list = []

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            assert "seg_logits" not in sample
            _Keep.kept.append({key: sample[key] for key in ("img_id", "pred_crf", "pred_sem_seg")})

    def compute_metrics(self, results):
        return {}

    def evaluate(self, size):
        return {}


class _Order(Hook):
    def __init__(self):
        self.seen = []

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert data_batch["data_samples"][0].img_id == outputs[0].img_id
        self.seen.append(batch_idx)


@pytest.fixture
def photos(tmp_path):
    ids = write_photos(tmp_path / "data")
    return ids, tmp_path / "data", write_checkpoint(tmp_path / "model.pth")


def _test(photos, tmp_path, workers=0, options=None, **changes):
    """Test with a CRF; give the figures, what metrics saw and the order of the hooks."""
    _, root, checkpoint = photos
    cfg = make_cfg(root, tmp_path / "work", model__test_cfg__crf=CRF, **changes)
    cfg.load_from = checkpoint
    cfg.test_evaluator.append(dict(type="_Keep", prefix="keep"))
    options = options or EvaluationOptions(crf=True, crf_workers=workers)
    runner = build_runner(cfg, stage="test", options=options)
    hook = _Order()
    runner.register_hook(hook)
    _Keep.kept = []
    return runner.test(), list(_Keep.kept), hook.seen, runner


def test_any_number_of_workers_gives_the_same_in_order(photos, tmp_path):
    figures, kept, seen, _ = _test(photos, tmp_path)
    assert [entry["img_id"] for entry in kept] == photos[0] and seen == list(range(5))
    assert {"seg/mIoU", "crf/mIoU", "crf/IoU.a", "cam/mIoU", "cls/F1"} <= set(figures)
    for workers in (1, 2):
        again, same, seen, _ = _test(photos, tmp_path, workers)
        assert again == pytest.approx(figures, nan_ok=True) and seen == list(range(5))
        for a, b in zip(kept, same, strict=True):
            assert a["img_id"] == b["img_id"]
            assert torch.equal(a["pred_crf"]["data"], b["pred_crf"]["data"])


def test_label_maps_are_those_of_a_plain_loop(photos, tmp_path):
    _, kept, _, runner = _test(photos, tmp_path)
    changed = 0
    for entry, data in zip(kept, runner.test_dataloader, strict=True):
        with torch.no_grad():
            data = runner.model.data_preprocessor(data, False)
            logits = runner.model.head_logits(data["inputs"])
        photo = np.array(Image.open(photos[1] / f"JPEGImages/{entry['img_id']}.jpg"))
        size = photo.shape[:2]
        probs = F.interpolate(logits, size, mode="bilinear")[0].softmax(0).numpy()
        wanted = dense_crf(photo, probs, CRFSettings(num_iters=3, bi_rgb_std=20)).argmax(0)
        found = entry["pred_crf"]["data"]
        assert found.shape == (1, *size) and found.dtype == torch.int64
        assert (found[0].numpy() == wanted).mean() > 0.999
        changed += (found != entry["pred_sem_seg"]["data"]).sum()
    assert changed > 20  # the CRF does something


def test_labels_that_an_image_cannot_have_do_not_enter(photos, tmp_path, monkeypatch):
    entered = []

    def spy(image, logits, with_probs, settings):
        entered.append(len(logits))
        return crf.crf_of_logits(image, logits, with_probs, settings)

    monkeypatch.setattr(crf_test_loop, "crf_of_logits", spy)
    monkeypatch.setattr(crf_test_loop, "possible_labels", lambda logits, thr: torch.tensor([0, 2]))
    _, kept, _, _ = _test(photos, tmp_path)
    assert entered == [2] * 5
    values = {value for entry in kept for value in entry["pred_crf"]["data"].unique().tolist()}
    assert values == {0, 2}


def test_a_large_photo_is_sharpened_at_a_smaller_size(photos, tmp_path, monkeypatch):
    sizes = []

    def spy(image, logits, with_probs, settings):
        sizes.append((image.shape[:2], with_probs))
        return crf.crf_of_logits(image, logits, with_probs, settings)

    monkeypatch.setattr(crf_test_loop, "crf_of_logits", spy)
    small = dict(CRF, max_side=20)
    _, kept, _, _ = _test(photos, tmp_path, model__test_cfg=dict(crf=small))
    assert all(max(size) == 20 and with_probs for size, with_probs in sizes)
    _, whole, _, _ = _test(photos, tmp_path)
    assert not any(with_probs for _, with_probs in sizes[5:])
    for a, b in zip(kept, whole, strict=True):
        assert a["pred_crf"]["data"].shape == b["pred_crf"]["data"].shape
        assert (a["pred_crf"]["data"] == b["pred_crf"]["data"]).float().mean() > 0.7


def test_few_pixels_are_under_way_at_a_time(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(crf_test_loop, "MAX_PIXELS", 1)
    _, kept, seen, _ = _test(photos, tmp_path, workers=2)
    assert [entry["img_id"] for entry in kept] == photos[0] and seen == list(range(5))


def test_with_several_scales(photos, tmp_path):
    options = EvaluationOptions(tta=True, crf=True, crf_workers=0)
    figures, kept, _, runner = _test(photos, tmp_path, options=options)
    assert {"seg/mIoU", "crf/mIoU"} <= set(figures) and len(kept) == 5
    assert type(runner.model).__name__ == "MultiScaleTTA"


def test_models_of_mmseg(photos, tmp_path):
    model = make_cfg("", "").model
    for key in ("cls_head", "affinity_head", "refiner", "train_cfg"):
        model.pop(key)
    model.update(_delete_=True, type="EncoderDecoder", test_cfg=dict(mode="whole", crf=CRF))
    _, root, _ = photos
    cfg = make_cfg(root, tmp_path / "work", model=model)
    options = EvaluationOptions(crf=True, crf_workers=0)
    figures = build_runner(cfg, stage="test", options=options).test()
    assert {"seg/mIoU", "crf/mIoU"} <= set(figures)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (dict(label_thr=2), "crf.label_thr must be between 0 and 1, got 2"),
        (dict(max_side=0), "crf.max_side must be 1 pixel or more, got 0"),
        (dict(num_iters=-1), "whole num_iters >= 0, got -1"),
        (dict(bi_rgb_stdd=3), "no argument 'bi_rgb_stdd'; did you mean 'bi_rgb_std'"),
    ],
)
def test_wrong_settings(photos, tmp_path, settings, text):
    with pytest.raises(ValueError, match=text):
        _test(photos, tmp_path, model__test_cfg=dict(crf=settings))


def test_missing_pydensecrf(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(crf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pydensecrf2"):
        _test(photos, tmp_path)


def test_results_without_logits(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("afa.engine.test_options._keep_logits", lambda model, size: None)
    with pytest.raises(ValueError, match="needs results with seg_logits"):
        _test(photos, tmp_path)


def test_a_photo_of_another_size_than_its_prediction_is_refused(photos, tmp_path):
    _, _, _, runner = _test(photos, tmp_path)
    runner.test_loop.load_photo = lambda results: dict(img=np.zeros((7, 9, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"photo_00\.jpg' has 7 x 9 pixels, its prediction"):
        runner.test_loop.run()


def test_photos_are_loaded_as_the_data_set_loads_them(photos, tmp_path):
    _, _, _, runner = _test(photos, tmp_path)
    assert runner.test_loop.load_photo is runner.test_dataloader.dataset.pipeline.transforms[0]
    wrapped = SimpleNamespace(datasets=[SimpleNamespace(dataset=runner.test_dataloader.dataset)])
    assert crf_test_loop._photo_loader(wrapped) is runner.test_loop.load_photo
    assert type(crf_test_loop._photo_loader(object())).__name__ == "LoadPhoto"


def test_photos_that_the_data_set_decodes_smaller_are_loaded_whole():
    reduced = LoadPhoto(apply_exif=False, fit=(8, 8))
    pipeline = SimpleNamespace(transforms=[reduced])
    found = crf_test_loop._photo_loader(SimpleNamespace(pipeline=pipeline))
    assert found.fit is None and found.apply_exif is False

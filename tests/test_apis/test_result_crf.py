import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from toy_afa import make_afa, make_inputs

from afa.apis.result_crf import add_crf, keeping_logits
from afa.files.crf import crf_of_logits

pytest.importorskip("pydensecrf")


def edge_sample(height=24, width=32, classes=3):
    """A photo with an edge in the middle, and logits whose edge lies four pixels beside it."""
    photo = np.full((height, width, 3), 40, np.uint8)
    photo[:, width // 2 :] = 220
    logits = torch.full((classes, height, width), -9.0)
    logits[0, :, : width // 2 + 4] = 0.4
    logits[1, :, : width // 2 + 4] = 0.0
    logits[1, :, width // 2 + 4 :] = 0.8
    logits[0, :, width // 2 + 4 :] = 0.0
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=logits)))
    return photo, sample


def test_the_label_follows_the_edge_of_the_photo():
    model = make_afa()
    photo, sample = edge_sample()
    add_crf(model, photo, sample)
    label = sample.pred_crf.data
    assert label.shape == (1, 24, 32) and label.dtype == torch.int64
    assert (label[0, :, :16] == 0).all() and (label[0, :, 16:] == 1).all()
    assert "seg_logits" not in sample  # nobody has asked for them


def test_it_is_the_crf_of_the_possible_labels_with_the_settings_of_the_config():
    settings = dict(num_iters=2, bi_rgb_std=13)
    model = make_afa(test_cfg=dict(crf=dict(settings, label_thr=0.01), seg_logits="full"))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    logits = torch.from_numpy(rng.normal(size=(4, 10, 15)).astype(np.float32))
    logits[2] = -20  # a label that the photo cannot have
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=logits)))
    add_crf(model, photo, sample)
    best = crf_of_logits(photo[..., ::-1].copy(), logits[[0, 1, 3]].numpy(), **settings)
    assert np.array_equal(sample.pred_crf.data[0].numpy(), np.array([0, 1, 3])[best])
    assert "seg_logits" in sample


def test_a_large_photo_is_reduced_for_the_crf():
    model = make_afa(test_cfg=dict(crf=dict(max_side=32)))
    photo, sample = edge_sample()
    large = cv2.resize(photo, (320, 240), interpolation=cv2.INTER_NEAREST)
    add_crf(model, large, sample)
    label = sample.pred_crf.data[0]
    assert label.shape == (240, 320)
    assert (label[:, :155] == 0).all() and (label[:, 165:] == 1).all()


def test_logits_are_kept_for_a_while():
    model = make_afa().eval()
    inputs = make_inputs(1)
    given = model.test_cfg
    with keeping_logits(model), torch.no_grad():
        assert "seg_logits" in model.predict(inputs)[0]
    assert model.test_cfg is given
    with torch.no_grad():
        assert "seg_logits" not in model.predict(inputs)[0]

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample

from afa.models.functional import strips
from afa.models.segmentors import write_result as module
from afa.models.segmentors.write_result import label_map, write_result

METAS = [
    dict(ori_shape=(20, 31)),
    dict(ori_shape=(20, 31, 3)[:2], img_padding_size=(0, 3, 0, 2)),
    dict(ori_shape=(9, 7), padding_size=[1, 2, 3, 0]),
    dict(ori_shape=(12, 16), flip=True, flip_direction="horizontal"),
    dict(ori_shape=(11, 5), flip=True, flip_direction="vertical", img_padding_size=(0, 1, 0, 1)),
]


def _samples():
    return [SegDataSample(metainfo=dict(meta)) for meta in METAS]


def _of_mmseg(logits, samples, align_corners):
    """Give what mmseg writes."""
    model = SimpleNamespace(align_corners=align_corners)
    return BaseSegmentor.postprocess_result(model, logits, samples)


@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_and_full_logits_are_those_of_mmseg(align_corners):
    logits = torch.randn(len(METAS), 4, 12, 16)
    wanted = _of_mmseg(logits, _samples(), align_corners)
    for keep in (None, "input", "full"):
        given = write_result(logits, _samples(), align_corners, keep)
        for a, b in zip(given, wanted, strict=True):
            assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
            assert a.pred_sem_seg.data.dtype == torch.int64
            assert ("seg_logits" in a) == (keep is not None)
            if keep == "full":
                torch.testing.assert_close(a.seg_logits.data, b.seg_logits.data)


def test_logits_of_the_input_come_without_padding_and_mirrored_back():
    logits = torch.randn(len(METAS), 4, 12, 16)
    given = [s.seg_logits.data for s in write_result(logits, _samples(), keep="input")]
    assert torch.equal(given[0], logits[0])
    assert torch.equal(given[1], logits[1, :, :10, :13])
    assert torch.equal(given[2], logits[2, :, 3:, 1:14])
    assert torch.equal(given[3], logits[3].flip(2))
    assert torch.equal(given[4], logits[4, :, :11, :15].flip(1))


def test_without_data_samples_the_size_is_that_of_the_input():
    logits = torch.randn(2, 3, 5, 6)
    first, second = write_result(logits)
    assert torch.equal(first.pred_sem_seg.data[0], logits[0].argmax(0))
    assert torch.equal(second.pred_sem_seg.data[0], logits[1].argmax(0))


def test_a_label_map_in_strips_is_that_of_one_piece(monkeypatch):
    logits = torch.randn(5, 9, 13)
    wanted = F.interpolate(logits[None], (50, 40), mode="bilinear").argmax(1)
    assert torch.equal(label_map(logits, (50, 40)), wanted)
    counted = []

    def small_strips(maps, size, align_corners):
        for y0, strip in strips.resize_strips(maps, size, align_corners, max_elements=5 * 40 * 7):
            counted.append(tuple(strip.shape))
            yield y0, strip

    labels = torch.tensor([0, 3, 4, 9, 20], dtype=torch.uint8)
    found = label_map(logits, (50, 40), labels=labels)
    assert found.dtype == torch.uint8 and torch.equal(found, labels[wanted])
    monkeypatch.setattr(module, "resize_strips", small_strips)
    assert torch.equal(label_map(logits, (50, 40)), wanted)
    assert counted == [(1, 5, 7, 40)] * 7 + [(1, 5, 1, 40)]

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from toy_afa import make_afa, make_inputs, make_samples

from afa.models.functional import (
    KINDS,
    label_map,
    label_of_masks,
    photo_size,
    present_classes,
    resize_maps,
    soft_masks,
)
from afa.models.segmentors.base import write_result

LABELS = [[1, 0, 1], [0, 1, 0]]


def _tuned(**changes):
    """CAMs of a drawn classifier are nearly flat: larger weights."""
    model = make_afa(**changes).eval()
    torch.manual_seed(1)
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    return model


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        (dict(), ("cam", "par", "propagated")),
        (dict(refiner=None), ("cam", "propagated")),
        (dict(train_cfg__propagation=None), ("cam", "par")),
        (dict(train_cfg__propagation="attention", refiner=None), ("cam", "propagated")),
    ],
)
def test_kinds_are_those_the_model_can_make(changes, kinds):
    model = make_afa(**changes).eval()
    assert model.map_kinds == kinds
    class_idx = present_classes(torch.tensor(LABELS))
    for kind in kinds:
        masks = model.map_maker(make_inputs(), class_idx, (kind,))(kind, [0.3, 0.6])
        assert masks.shape[:3] == (2, 2, 3)
    for kind in set(KINDS) - set(kinds):
        with pytest.raises(ValueError, match=f"makes no '{kind}' maps"):
            model.map_maker(make_inputs(), class_idx, (kind,))(kind, [0.3])


def test_soft_maps_are_those_of_the_pieces():
    model, inputs = _tuned(), make_inputs(height=48, width=64)
    class_idx = present_classes(torch.tensor(LABELS))
    cams, walk = model.cams_and_walk(inputs, class_idx, with_walk=True)
    refine, grid = model.refinement(model.rgb_images(inputs)), walk.grid

    def masks(size):  # the softmax behind the resize
        return soft_masks(resize_maps(cams, size), class_idx, 0.45)

    for kind, expected in (
        ("cam", masks((48, 64))),
        ("par", refine(masks((24, 32)))),
        ("propagated", refine(resize_maps(walk(masks(grid)), (48, 64)))),
    ):
        found = model.map_maker(inputs, class_idx, (kind,))(kind, [0.45])[:, 0]
        torch.testing.assert_close(found, expected)


def test_what_a_kind_does_not_need_is_not_computed(monkeypatch):
    model, class_idx = make_afa().eval(), present_classes(torch.tensor(LABELS))
    weights = Mock(wraps=model.refiner.weights)
    monkeypatch.setattr(model.refiner, "weights", weights)
    head = Mock(wraps=model.affinity_head.forward)
    monkeypatch.setattr(model.affinity_head, "forward", head)
    model.map_maker(make_inputs(), class_idx, ("cam",))("cam", [0.5])
    assert (weights.call_count, head.call_count) == (0, 0)
    model.map_maker(make_inputs(), class_idx, ("par",))("par", [0.5, 0.4])
    assert (weights.call_count, head.call_count) == (1, 0)
    maker = model.map_maker(make_inputs(), class_idx)
    for kind in model.map_kinds:
        maker(kind, [0.2, 0.4])
    assert (weights.call_count, head.call_count) == (2, 1)


def test_predicted_labels_are_made_of_the_soft_maps():
    model = _tuned(test_cfg=dict(pseudo_labels=True, bkg_thr=0.4))
    inputs = make_inputs(height=32, width=48)
    samples = make_samples(LABELS, ori_shape=(40, 70), img_shape=(32, 48))
    with torch.no_grad():
        out = model(inputs, samples, mode="predict")
    class_idx = present_classes(torch.tensor(LABELS))
    for kind in KINDS:
        masks = model.map_maker(inputs, class_idx, (kind,))(kind, [0.4])[:, 0]
        expected = label_of_masks(masks, class_idx, (40, 70))
        assert torch.equal(torch.cat([sample.get(f"pred_{kind}").data for sample in out]), expected)
        assert len(expected.unique()) > 1


def test_cams_come_along_where_they_are_asked_for():
    model = _tuned(test_cfg=dict(pseudo_labels=True))
    inputs, meta = make_inputs(height=32, width=48), dict(ori_shape=(24, 28), keep_cams=True)
    one = make_samples(LABELS[:1], img_padding_size=(0, 20, 0, 8), **meta)
    with torch.no_grad():
        cut, plain = model(inputs, one + make_samples(LABELS[1:]), mode="predict")
        cams, _ = model.cams_and_walk(inputs, present_classes(torch.tensor(LABELS)), False)
    assert cut.cam_values == [1, 3] and "cams" not in plain
    torch.testing.assert_close(cut.cams, cams[0, :, :24, :28])
    (none,) = make_samples([[0, 0, 0]], keep_cams=True)
    with torch.no_grad():
        assert model(inputs[:1], [none], mode="predict")[0].cams.shape == (0, 32, 48)


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

    whole = photo_size.resize_strips

    def small_strips(maps, size, align_corners):
        for y0, strip in whole(maps, size, align_corners, max_elements=5 * 40 * 7):
            counted.append(tuple(strip.shape))
            yield y0, strip

    labels = torch.tensor([0, 3, 4, 9, 20], dtype=torch.uint8)
    found = label_map(logits, (50, 40), labels=labels)
    assert found.dtype == torch.uint8 and torch.equal(found, labels[wanted])
    monkeypatch.setattr(photo_size, "resize_strips", small_strips)
    assert torch.equal(label_map(logits, (50, 40)), wanted)
    assert counted == [(1, 5, 7, 40)] * 7 + [(1, 5, 1, 40)]


@pytest.mark.parametrize(
    ("backbone", "lacking"),
    [
        (
            dict(type="MixVisionTransformer", num_heads=[1, 2, 5, 8]),
            r"no forward\(\.\.\., with_attn=\), no forward\(\.\.\., drop_path=\), no head_dim",
        ),
        (dict(type="VGG16LargeFOV"), r"VGG16LargeFOV has no forward\(\.\.\., with_attn=\), no"),
    ],
)
def test_a_backbone_without_attention_is_refused_when_the_model_is_built(backbone, lacking):
    with pytest.raises(ValueError, match=f"AFA makes affinity from attention, but .*{lacking}"):
        make_afa(backbone=dict(backbone, _delete_=True))


def test_a_phase_that_the_model_does_not_have_is_refused():
    model = make_afa()
    assert model.phase == "propagated" and list(model.phases) == ["cls", "pseudo", "propagated"]
    with pytest.raises(ValueError, match=r"phase must be one of .*'pseudo', .*got 'warmup'"):
        model.set_phase("warmup")

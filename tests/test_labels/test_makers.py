import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from toy_afa import afa_cfg, make_afa

from afa.evaluation.figures import confusion_matrix
from afa.labels.folder import merge_labels
from afa.labels.makers import NetworkMasks
from afa.models.functional import (
    label_of_two_scores,
    labels_from_masks,
    present_classes,
    resize_strips,
    stacked_masks,
)

LABEL = np.array([1, 0, 1], np.float32)
SIZE = (45, 70)


@pytest.fixture(scope="module")
def model():
    model = make_afa(test_cfg=dict(pseudo_labels=False, bkg_thr=0.4, cls_thr=0.5)).eval()
    torch.manual_seed(1)
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    model.decode_head.conv_seg.weight.data.normal_(std=0.5)
    return model


def _packed(height=32, width=48, **metainfo):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randint(0, 255, (3, height, width), generator=generator, dtype=torch.uint8)
    meta = dict(ori_shape=SIZE, img_shape=(height, width), **metainfo)
    return dict(inputs=inputs, data_samples=SegDataSample(metainfo=meta))


def _inputs(model, packed):
    data = dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])
    return model.data_preprocessor(data, False)["inputs"]


def _label(maps):
    """Give the label map as the file has it."""
    labels = [maps.label_map(mask, SIZE) for mask in maps.masks]
    assert all(label.dtype == torch.uint8 for label in labels)
    return labels[0] if len(labels) == 1 else torch.from_numpy(merge_labels(*map(np.array, labels)))


@pytest.mark.parametrize(
    ("kind", "field"), [("cam", "pred_cam"), ("par", "pred_par"), ("propagated", "pred_propagated")]
)
@pytest.mark.parametrize("source", ["image", "predicted"])
def test_label_maps_are_those_of_predict(model, kind, field, source):
    label = _label(NetworkMasks(model, kind, [0.4], source)(_packed(), LABEL))
    sample = _packed()["data_samples"]
    if source == "image":
        sample.set_data(dict(gt_label=torch.from_numpy(LABEL)))
    object.__setattr__(model.test_cfg, "pseudo_labels", True)
    with torch.no_grad():
        (predicted,) = model.predict(_inputs(model, _packed()), [sample])
    object.__setattr__(model.test_cfg, "pseudo_labels", False)
    assert label.dtype == torch.uint8
    assert torch.equal(label.long(), predicted.get(field).data[0])
    assert len(label.unique()) > 1


def test_seg_of_any_class_is_that_of_predict_and_a_restricted_one_its_best_allowed(model):
    with torch.no_grad():
        inputs = _inputs(model, _packed())
        (predicted,) = model.predict(inputs, [_packed()["data_samples"]])
        logits = model.head_logits(inputs)
    maps = NetworkMasks(model, "seg", [], "all")(_packed(), None)
    assert torch.equal(_label(maps).long(), predicted.pred_sem_seg.data[0])
    maps = NetworkMasks(model, "seg", [], "image")(_packed(), LABEL)
    assert maps.labels == [0, 1, 3]
    ((_, resized),) = resize_strips(logits, SIZE)
    expected = torch.tensor([0, 1, 3])[resized[0, [0, 1, 3]].argmax(0)]
    assert torch.equal(_label(maps).long(), expected)
    assert 2 in predicted.pred_sem_seg.data.unique() and 2 not in expected.unique()


def test_two_scores_give_the_label_of_the_training(model):
    maps = NetworkMasks(model, "par", [0.5, 0.3])(_packed(), LABEL)
    inputs = _inputs(model, _packed())
    class_idx = present_classes(torch.from_numpy(LABEL)[None])
    cams, _ = model.cams_and_walk(inputs, class_idx)
    refine = model.refinement(model.rgb_images(inputs))
    masks = refine(stacked_masks(cams, class_idx, (0.5, 0.3), refine.size))
    expected = label_of_two_scores(masks, class_idx, SIZE)[0]
    assert torch.equal(_label(maps).long(), expected)
    assert 255 in expected.unique() and 0 in expected.unique()


def test_the_sweep_against_a_loop_over_scores(model):
    truth = np.random.choice([0, 1, 3, 255], SIZE).astype(np.uint8)
    scores = [round(0.1 * i, 1) for i in range(1, 9)]  # more than go through PAR at a time
    maps = NetworkMasks(model, "propagated", [0.4])(_packed(), LABEL)
    counts = maps.sweep_counts(scores, truth, 4)
    assert counts.shape == (8, 4, 5)
    for i, score in enumerate(scores):
        label = _label(NetworkMasks(model, "propagated", [score])(_packed(), LABEL))
        assert torch.equal(counts[i], confusion_matrix(label, torch.from_numpy(truth), 4)), score
    assert len({tuple(one.flatten().tolist()) for one in counts}) > 3


def test_shares_sum_to_one_and_keep_the_best_label(model):
    for kind, source in (("par", "image"), ("propagated", "image"), ("seg", "all")):
        maps = NetworkMasks(model, kind, [] if kind == "seg" else [0.4], source)(_packed(), LABEL)
        labels, kept = maps.to_keep()
        found = torch.from_numpy(kept)
        assert found.shape[0] == len(labels) == len(maps.labels)
        torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))
        best = labels_from_masks(maps.masks[0], maps.class_idx)
        assert torch.equal(labels_from_masks(found[None], maps.class_idx), best)


def test_cams_come_along_with_their_kind(model):
    maps = NetworkMasks(model, "cam", [0.4])(_packed(), LABEL)
    cams, _ = model.cams_and_walk(_inputs(model, _packed()), maps.class_idx)
    torch.testing.assert_close(maps.cams, cams)
    assert NetworkMasks(model, "par", [0.4])(_packed(), LABEL).cams is None


def test_an_image_without_classes_is_background(model):
    for kind in ("cam", "par", "propagated"):
        maps = NetworkMasks(model, kind, [0.4])(_packed(), np.zeros(3, np.float32))
        assert maps.labels == [0] and not _label(maps).any()


def test_padding_of_the_preprocessor_has_no_part_in_it(model):
    padding = dict(img_padding_size=(0, 16, 0, 8))  # left, right, top, bottom
    maker = NetworkMasks(model, "cam", [0.4])
    whole, cut = (maker(_packed(**meta), LABEL) for meta in ({}, padding))
    torch.testing.assert_close(cut.masks[0], whole.masks[0][..., :24, :32])
    torch.testing.assert_close(cut.cams, whole.cams[..., :24, :32])


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("cams", [0.4]), "makes no 'cams' labels: choose --kind cam or par"),
        (("cam", [0.4], "all"), "--kind cam needs to know which classes"),
    ],
)
def test_wrong_arguments_are_said(model, args, text):
    with pytest.raises(ValueError, match=text):
        NetworkMasks(model, *args)


def test_what_a_model_cannot_make_is_said():
    plain = make_afa(train_cfg__propagation=None, refiner=None).eval()
    with pytest.raises(ValueError, match=r"\(AFA\) makes no 'propagated' labels: .*cam or seg"):
        NetworkMasks(plain, "propagated", [0.4])
    with pytest.raises(ValueError, match="it has neither CAMs nor a head"):
        NetworkMasks(torch.nn.Linear(1, 1), "cam", [0.4])
    del plain.cls_head
    with pytest.raises(ValueError, match="no classifier"):
        NetworkMasks(plain, "cam", [0.4], "predicted")


def test_a_segmentor_of_mmseg_makes_seg_labels():
    head = afa_cfg()["decode_head"]
    cfg = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(type="SegDataPreProcessor"),
        backbone=dict(type="MiTAttn", arch="b0", drop_path_rate=0.0),
        decode_head=head,
        test_cfg=dict(mode="whole"),
    )
    make_afa()  # sets the scope
    segmentor = MODELS.build(ConfigDict(cfg)).eval()
    maps = NetworkMasks(segmentor, "seg", [], "all")(_packed(), None)
    data = segmentor.data_preprocessor(
        dict(inputs=[_packed()["inputs"]], data_samples=[_packed()["data_samples"]]), False
    )
    with torch.no_grad():
        (predicted,) = segmentor.predict(data["inputs"], data["data_samples"])
    assert torch.equal(_label(maps).long(), predicted.pred_sem_seg.data[0])
    with pytest.raises(ValueError, match=r"\(EncoderDecoder\) makes no 'cam' labels: choose.*seg"):
        NetworkMasks(segmentor, "cam", [0.4])

import sys
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from toy_afa import (
    NUM_CLASSES,
    PHASES,
    afa_cfg,
    batch_norms,
    gradients,
    make_afa,
    make_inputs,
    make_samples,
    total,
)

from afa.models import AFA
from afa.models.functional import (
    affinity_label,
    labels_from_masks,
    merge_thresholds,
    normalize_cams,
    present_classes,
    random_walk,
    soft_masks,
)

LABELS = [[1, 0, 1], [0, 1, 0]]


def _count(monkeypatch, owner, name):
    """Count the calls of a method, which still runs."""
    mock = Mock(wraps=getattr(owner, name))
    monkeypatch.setattr(owner, name, mock)
    return mock


# ---- what is built ------------------------------------------------------------------------------


def test_names_and_shapes_of_the_state_dict():
    shapes = {key: tuple(value.shape) for key, value in make_afa().state_dict().items()}
    parts = {"backbone", "cls_head", "decode_head", "affinity_head"}
    assert {key.split(".")[0] for key in shapes} == parts
    ours = ("cls_head", "affinity_head")
    assert {key: value for key, value in shapes.items() if key.split(".")[0] in ours} == {
        "cls_head.classifier.weight": (NUM_CLASSES - 1, 256, 1, 1),
        "affinity_head.proj.weight": (1, 16, 1, 1),
        "affinity_head.proj.bias": (1,),
    }
    assert shapes["backbone.patch_embed1.proj.weight"] == (32, 3, 7, 7)
    assert shapes["decode_head.conv_seg.weight"] == (NUM_CLASSES, 16, 1, 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(train_cfg__raduis=3), "model.train_cfg has no entry 'raduis': did you mean 'radius'"),
        (dict(test_cfg=dict(bkg_th=0.4)), "model.test_cfg has no entry 'bkg_th': did you mean"),
        (dict(train_cfg__bkg_thr_low=0.6), "must not be above bkg_thr_high"),
        (dict(affinity_head=None), "propagation='affinity' needs model.affinity_head: give one"),
    ],
)
def test_wrong_settings(changes, text):
    with pytest.raises(ValueError, match=text):
        AFA(**{key: value for key, value in afa_cfg(**changes).items() if key != "type"})


def test_phase_must_be_known():
    model = make_afa()
    assert model.phase == "propagated"
    with pytest.raises(ValueError, match=r"phase must be one of \('cls', .*, got 'warmup'"):
        model.set_phase("warmup")


# ---- what a training step computes --------------------------------------------------------------

# calls of: backbone, decode_head, affinity_head, PAR's weights, random walk
CALLS = {
    "cls": (1, 0, 0, 0, 0),
    "pseudo": (1 + 3, 1, 1, 1, 0),
    "propagated": (1 + 3, 1, 2, 1, 1),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_computes_only_what_it_needs(monkeypatch, phase):
    model = make_afa().train()
    model.set_phase(phase)
    mocks = [
        _count(monkeypatch, model.backbone, "forward"),
        _count(monkeypatch, model.decode_head, "forward"),
        _count(monkeypatch, model.affinity_head, "forward"),
        _count(monkeypatch, model.refiner, "weights"),
        _count(monkeypatch, sys.modules["afa.models.functional.affinity"], "random_walk"),
    ]
    losses = model(make_inputs(), make_samples(LABELS), mode="loss")
    assert tuple(mock.call_count for mock in mocks) == CALLS[phase]
    names = {"loss_cls"} if phase == "cls" else {"loss_cls", "loss_seg", "loss_aff"}
    assert set(losses) == names
    total(losses).backward()
    touched = {name.split(".")[0] for name in gradients(model)}
    heads = {"cls_head"} if phase == "cls" else {"cls_head", "decode_head", "affinity_head"}
    assert touched == heads | {"backbone"}


def test_without_an_affinity_head_training_asks_for_no_attention(monkeypatch):
    model = make_afa(affinity_head=None, train_cfg__propagation=None)
    forward = _count(monkeypatch, model.backbone, "forward")
    losses = model(make_inputs(), make_samples(LABELS), mode="loss")
    assert set(losses) == {"loss_cls", "loss_seg"}
    assert not any(call.kwargs.get("with_attn") for call in forward.call_args_list)


def test_cam_passes_run_without_drop_path_and_leave_batch_norm_alone(monkeypatch):
    model = make_afa(backbone__drop_path_rate=0.9, decode_head__dropout_ratio=0.5).train()
    forward = _count(monkeypatch, model.backbone, "forward")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    first = model.make_labels(make_inputs(), torch.tensor(LABELS).float())
    assert torch.equal(torch.get_rng_state(), draws)  # nothing was drawn
    assert all(call.kwargs["drop_path"] is False for call in forward.call_args_list)
    again = model.eval().make_labels(make_inputs(), torch.tensor(LABELS).float())
    for made in (first, again):
        made["affinity"] = made.pop("walk").affinity
    for key in ("cams", "pseudo", "propagated", "affinity"):
        assert torch.equal(first[key], again[key]) and not first[key].requires_grad
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_step_updates_batch_norm_once_and_drops_paths():
    model = make_afa(backbone__drop_path_rate=0.9).train()
    first = model.loss(make_inputs(), make_samples(LABELS))
    assert all(norm.num_batches_tracked == 1 for norm in batch_norms(model))
    assert first["loss_cls"] != model.loss(make_inputs(), make_samples(LABELS))["loss_cls"]


@pytest.mark.parametrize("phase", ["pseudo", "propagated"])
def test_without_drop_path_the_pass_with_gradient_serves_the_cams_too(monkeypatch, phase):
    model = make_afa().train()
    model.set_phase(phase)
    forward = _count(monkeypatch, model.backbone, "forward")
    losses, images = [], []
    for rate in (0.0, 0.1):  # only told so: its blocks drop nothing
        monkeypatch.setattr(model.backbone, "drop_path_rate", rate)
        forward.reset_mock()
        losses.append(model.loss(make_inputs(), make_samples(LABELS)))
        images.append(sum(len(call.args[0]) for call in forward.call_args_list))
    assert images == [12, 14]  # three scales of two photos and their mirror images; with gradient
    for name, value in losses[0].items():
        assert torch.allclose(value, losses[1][name], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize(
    ("scales", "with_gradient", "without"), [((1.0,), 8, 10), ((), 6, 8), ((0.5, 1.5), 10, 12)]
)
def test_mirror_images_at_some_scales_only(monkeypatch, scales, with_gradient, without):
    model = make_afa(train_cfg__mirror_scales=scales).train()
    model.set_phase("propagated")
    forward = _count(monkeypatch, model.backbone, "forward")
    for rate, number in ((0.0, with_gradient), (0.1, without)):
        monkeypatch.setattr(model.backbone, "drop_path_rate", rate)
        forward.reset_mock()
        losses = model.loss(make_inputs(), make_samples(LABELS))
        assert sum(len(call.args[0]) for call in forward.call_args_list) == number
        assert all(torch.isfinite(loss) for loss in losses.values())


# ---- values -------------------------------------------------------------------------------------


def _tuned(**changes):
    """A model whose CAMs have both signs, so that every kind of label occurs."""
    model = make_afa(**changes).eval()
    torch.manual_seed(1)
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    return model


def _resized(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def test_labels_are_those_of_the_pieces_one_by_one():
    model = _tuned()
    inputs, labels = make_inputs(height=48, width=64), torch.tensor(LABELS).float()
    boxes = [(0, 48, 0, 64), (8, 40, 0, 50)]
    made = model.make_labels(inputs, labels, boxes)
    class_idx = present_classes(labels)

    summed, affinity = 0, None
    for scale in (1.0, 0.5, 1.5):
        images = _resized(inputs, (int(48 * scale), int(64 * scale)))
        feats, attn = model.backbone(images, with_attn=True)
        maps = model.cls_head.classifier(feats[-1])
        mirror = model.cls_head.classifier(model.backbone(images.flip(3))[-1]).flip(3)
        summed = summed + torch.maximum(_resized(maps, (48, 64)), _resized(mirror, (48, 64))).relu()
        if scale == 1.5:
            affinity, grid = model.affinity_head(attn), feats[-1].shape[2:]
    cams = normalize_cams(summed)
    picked = torch.stack([cams[0, [0, 2]], torch.stack([cams[1, 1], 0 * cams[1, 1]])])
    torch.testing.assert_close(made["cams"], picked, rtol=1e-4, atol=1e-5)

    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    images = (inputs * std + mean).clamp(0, 255).floor()
    for i, (y0, y1, x0, x1) in enumerate(boxes):
        box, (height, width) = (slice(y0, y1), slice(x0, x1)), (y1 - y0, x1 - x0)
        real = images[i : i + 1, :, y0:y1, x0:x1]
        scored = dict(pseudo=[], propagated=[])
        for score in (0.55, 0.35):  # the softmax behind each resize
            half, tokens = (
                soft_masks(_resized(made["cams"][i : i + 1], size), class_idx[i : i + 1], score)
                for size in ((24, 32), grid)
            )
            half = _resized(model.refiner(_resized(images[i : i + 1], (24, 32)), half), (48, 64))
            scored["pseudo"].append(half[..., y0:y1, x0:x1])
            walked = random_walk(tokens, affinity[i : i + 1], radius=2, power=2.0)
            walked = _resized(walked, (48, 64))[..., y0:y1, x0:x1]
            walked = model.refiner(_resized(real, (height // 2, width // 2)), walked)
            scored["propagated"].append(_resized(walked, (height, width)))
        for key, (high, low) in scored.items():
            high, low = (labels_from_masks(m, class_idx[i : i + 1]) for m in (high, low))
            found = made[key][i].clone()
            # a near tie may fall otherwise
            assert (found[box] == merge_thresholds(high, low)[0]).float().mean() > 0.999, (key, i)
            found[box] = 255
            assert (found == 255).all()
    for key in ("pseudo", "propagated"):
        assert len(made[key].unique()) > 2
    assert made["walk"].grid == tuple(grid)


@pytest.mark.parametrize("aff_label", ["pseudo", "propagated"])
@pytest.mark.parametrize("phase", ["pseudo", "propagated"])
def test_losses_learn_from_the_labels_of_the_phase(phase, aff_label):
    model = _tuned(train_cfg__aff_label=aff_label)
    model.set_phase(phase)
    inputs, labels = make_inputs(height=48, width=64), torch.tensor(LABELS).float()
    losses = model.loss(inputs, make_samples(LABELS))
    made = model.make_labels(inputs, labels)
    assert not torch.equal(made["pseudo"], made["propagated"])
    feats, attn = model.backbone(inputs, with_attn=True)
    seg = F.interpolate(model.decode_head(feats), size=(48, 64), mode="bilinear")
    expected = model.decode_head.loss_decode(seg, made[phase], ignore_index=255)
    torch.testing.assert_close(losses["loss_seg"], expected)
    teacher = made[phase] if aff_label == "propagated" else made["pseudo"]
    pairs = affinity_label(teacher, feats[-1].shape[2:], radius=2)
    expected = model.affinity_head.loss_aff(model.affinity_head(attn), pairs)
    torch.testing.assert_close(losses["loss_aff"], expected)
    expected = F.multilabel_soft_margin_loss(model.cls_head(feats[-1]), labels)
    torch.testing.assert_close(losses["loss_cls"], expected)


def test_padding_has_no_part_in_the_labels_and_what_is_there_none_in_the_propagated_one():
    model, labels, box = _tuned(), torch.tensor(LABELS).float(), (0, 20, 0, 32)
    inputs = make_inputs()
    made = model.make_labels(inputs, labels, [box] * 2)
    assert (made["pseudo"][:, 20:] == 255).all() and (made["propagated"][:, 20:] == 255).all()
    assert (made["propagated"][:, :20] != 255).any()
    # PAR alone: the same CAMs and affinity, other colours in the padding.
    cams = model.cams_and_walk(inputs, present_classes(labels), with_walk=True)
    model.cams_and_walk = lambda *args, **kwargs: cams
    other = inputs.clone()
    other[:, :, 20:] += torch.randn(3, 12, 32)
    again = model.make_labels(other, labels, [box] * 2)
    assert torch.equal(made["propagated"], again["propagated"])
    assert not torch.equal(made["pseudo"], again["pseudo"])  # that of the program sees the padding


def test_images_with_and_without_padding_get_the_labels_they_get_alone():
    model, labels = _tuned(), torch.tensor(LABELS).float()
    inputs, boxes = make_inputs(), [(0, 32, 0, 32), (-3, 18, 4, 99)]
    made = model.make_labels(inputs, labels, boxes)
    for i in range(2):
        alone = model.make_labels(inputs[i : i + 1], labels[i : i + 1], boxes[i : i + 1])
        for key in ("pseudo", "propagated"):
            assert (alone[key][0] == made[key][i]).float().mean() > 0.999, key


def test_rgb_images_undo_the_normalisation():
    bgr = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).to(torch.uint8)
    model = make_afa(data_preprocessor__size=(4, 4))
    data = model.data_preprocessor(dict(inputs=list(bgr), data_samples=make_samples(LABELS)), True)
    torch.testing.assert_close(model.rgb_images(data["inputs"]), bgr.flip(1).float())
    plain = make_afa(data_preprocessor=dict(_delete_=True, type="SegDataPreProcessor"))
    assert plain.rgb_images(data["inputs"]) is data["inputs"]


def test_attention_can_take_the_place_of_the_learned_affinity(monkeypatch):
    model = _tuned(train_cfg__propagation="attention")
    head = _count(monkeypatch, model.affinity_head, "forward")
    made = model.make_labels(make_inputs(), torch.tensor(LABELS).float())
    assert head.call_count == 0
    torch.testing.assert_close(made["walk"].affinity.amax(2), torch.ones(2, 9))


# ---- modes --------------------------------------------------------------------------------------


def test_tensor_mode():
    model = make_afa().eval()
    with torch.no_grad():
        out = model(make_inputs(height=32, width=48))
    assert {key: tuple(value.shape) for key, value in out.items()} == {
        "cls_logits": (2, 3),
        "seg_logits": (2, 4, 8, 12),
        "affinity": (2, 6, 6),
        "cam": (2, 3, 2, 3),
    }
    assert out["cam"].min() < 0  # raw
    torch.testing.assert_close(out["affinity"], out["affinity"].transpose(1, 2))


@pytest.mark.parametrize("with_labels", [True, False])
def test_predict_gives_every_map_at_the_original_size(with_labels):
    model = _tuned(test_cfg=dict(pseudo_labels=True, cls_thr=0.4))
    meta = dict(ori_shape=(40, 70), img_shape=(32, 48))
    samples = make_samples(LABELS, **meta)
    if not with_labels:
        samples = [SegDataSample(metainfo=meta) for _ in LABELS]
    with torch.no_grad():
        inputs = make_inputs(height=32, width=48)
        out = model(inputs, samples, mode="predict")
        raw = model(inputs)
    for i, sample in enumerate(out):
        torch.testing.assert_close(sample.pred_label, raw["cls_logits"][i].sigmoid())
        given = torch.tensor(LABELS[i]) if with_labels else (sample.pred_label > 0.4).long()
        allowed = {0} | {k + 1 for k in range(3) if given[k]}
        for name in ("pred_cam", "pred_par", "pred_propagated"):
            data = sample.get(name).data
            assert data.shape == (1, 40, 70) and data.dtype == torch.int64
            assert set(data.unique().tolist()) <= allowed
        assert sample.pred_sem_seg.data.shape == (1, 40, 70)


def test_predicted_values():
    model = _tuned(test_cfg=dict(pseudo_labels=True, bkg_thr=0.45), refiner=None)
    inputs, samples = make_inputs(), make_samples(LABELS, ori_shape=(32, 32), img_shape=(32, 32))
    with torch.no_grad():
        out = model(inputs, samples, mode="predict")
        seg = F.interpolate(model(inputs)["seg_logits"], size=(32, 32), mode="bilinear")
        cams, _ = model.cams_and_walk(inputs, present_classes(torch.tensor(LABELS)))
    assert "pred_par" not in out[0]
    assert torch.equal(torch.stack([s.pred_sem_seg.data[0] for s in out]), seg.argmax(1))
    a, b = cams[0]
    expected = torch.where(torch.maximum(a, b) > 0.45, torch.where(a >= b, 1, 3), 0)
    assert torch.equal(out[0].pred_cam.data[0], expected)
    assert torch.equal(out[1].pred_cam.data[0], 2 * (cams[1, 0] > 0.45))


def test_predict_cuts_padding_away():
    model = _tuned(test_cfg=dict(pseudo_labels=True))
    inputs = make_inputs()
    whole = make_samples(LABELS, ori_shape=(32, 32), img_shape=(32, 32))
    cut = make_samples(
        LABELS, ori_shape=(24, 20), img_shape=(24, 20), img_padding_size=(0, 12, 0, 8)
    )
    with torch.no_grad():
        whole, cut = (model(inputs, samples, mode="predict") for samples in (whole, cut))
    for a, b in zip(whole, cut, strict=True):
        for name in ("pred_sem_seg", "pred_cam", "pred_par", "pred_propagated"):
            wanted = a.get(name).data[:, :24, :20]
            assert (b.get(name).data == wanted).float().mean() > 0.99, name


def test_predict_without_pseudo_labels_and_without_data_samples():
    with torch.no_grad():
        (sample,) = make_afa().eval()(make_inputs(batch=1), mode="predict")
        assert {"pred_sem_seg", "pred_label"} <= set(sample.keys())
        assert "pred_cam" not in sample and "seg_logits" not in sample
        (sample,) = _tuned(test_cfg=dict(pseudo_labels=True)).predict(make_inputs(batch=1))
        assert sample.pred_cam.data.shape == sample.pred_sem_seg.data.shape == (1, 32, 32)


def test_predicted_logits_on_request():
    inputs, meta = make_inputs(batch=1), dict(ori_shape=(40, 50))
    shapes = dict(head=(4, 8, 8), full=(4, 40, 50))
    for keep, shape in shapes.items():
        model = make_afa(test_cfg=dict(seg_logits=keep)).eval()
        with torch.no_grad():
            (sample,) = model.predict(inputs, [SegDataSample(metainfo=meta)])
            wanted = model.head_logits(inputs)
        wanted = F.interpolate(wanted, size=shape[1:], mode="bilinear")[0]
        torch.testing.assert_close(sample.seg_logits.data, wanted)


@pytest.mark.parametrize("phase", PHASES)
def test_bf16_autocast(phase):
    model = make_afa(loss_reg=dict(type="DenseEnergyLoss")).train()
    model.set_phase(phase)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, attn = model.backbone(make_inputs(), with_attn=True)
        assert attn.dtype == torch.float32
        assert model.affinity(attn).dtype == model(make_inputs())["affinity"].dtype == torch.float32
        losses = model(make_inputs(), make_samples(LABELS), mode="loss")
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    total(losses).backward()
    assert all(grad.isfinite().all() for grad in gradients(model).values())


def test_training_without_image_labels_says_what_to_give():
    samples = make_samples(torch.zeros(2, 3))
    del samples[1].gt_label
    with pytest.raises(ValueError, match="image_labels"):
        make_afa().loss(make_inputs(), samples)

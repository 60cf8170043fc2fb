import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from toy_afa import batch_norms, gradients, make_afa, make_inputs, make_samples

from afa.models import CAMClassifier, SubCategoryClassifier
from afa.models.functional import label_of_masks, present_classes, soft_masks
from afa.models.segmentors.cam_classifier import CAMClassifierTestCfg
from afa.utils.settings import from_cfg

LABELS = [[1, 0, 1], [0, 1, 0]]
BACKBONES = dict(
    resnet38=(dict(type="ResNet38", base_channels=2), 128),
    vgg16=(dict(type="VGG16LargeFOV", base_channels=4), 64),
    mit=(dict(type="MiTAttn", arch="b0"), 256),
    vit=(
        dict(
            type="TimmViT",
            name="deit_tiny_patch16_224",
            embed_dim=32,
            num_heads=2,
            depth=4,
            img_size=64,
        ),
        32,
    ),
    resnet50=(
        dict(
            type="ResNet",
            depth=50,
            base_channels=4,
            stem_channels=4,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type="BN", requires_grad=True),
        ),
        128,
    ),
)


def make(backbone="resnet38", pooling="avg", head=None, **kwargs):
    """A narrow classifier whose maps are not flat."""
    torch.manual_seed(0)
    cfg, channels = BACKBONES[backbone]
    cls_head = dict(type="CAMHead", in_channels=channels, num_classes=4, pooling=pooling)
    model = MODELS.build(
        dict(type="CAMClassifier", backbone=cfg, cls_head=cls_head | (head or {}), **kwargs)
    )
    model.init_weights()
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    return model


def test_loss_is_the_soft_margin_of_pooled_features():
    model = make("mit").eval()
    inputs = make_inputs()
    with torch.no_grad():
        loss = model(inputs, make_samples(LABELS), mode="loss")
        feats = model.backbone(inputs)[-1]
    assert list(loss) == ["loss_cls"]
    terms = []
    for feat, labels in zip(feats, LABELS, strict=True):
        pooled = feat.flatten(1).mean(dim=1)
        for k, label in enumerate(labels):
            logit = (pooled @ model.cls_head.classifier.weight[k, :, 0, 0]).item()
            sigmoid = 1 / (1 + math.exp(-logit))
            terms.append(-math.log(sigmoid if label else 1 - sigmoid))
    assert loss["loss_cls"].item() == pytest.approx(sum(terms) / 6, rel=1e-5)


def cams_by_loop(model, images, present, scales):
    """AffinityNet's CAMs: one image, one view, one class after the other."""
    H, W = images.shape[2:]
    weight, out = model.cls_head.classifier.weight[:, :, 0, 0], []
    for image, classes in zip(images, present, strict=True):
        for k in classes:
            summed = torch.zeros(H, W)
            for scale in scales:
                size = (round(H * scale), round(W * scale))
                view = F.interpolate(image[None], size=size, mode="bilinear")
                for mirror in (False, True):
                    feat = model.backbone(view.flip(3) if mirror else view)[-1][0]
                    cam = torch.einsum("c,chw->hw", weight[k], feat).clamp(min=0)
                    cam = cam.flip(1) if mirror else cam
                    summed += F.interpolate(cam[None, None], size=(H, W), mode="bilinear")[0, 0]
            out.append(summed / (summed.max() + 1e-5))
    return out


@pytest.mark.parametrize("backbone", list(BACKBONES))
@torch.no_grad()
def test_cams_on_any_backbone_are_the_formula(backbone):
    model = make(backbone).eval()
    images = make_inputs(height=32, width=48)
    cams = model.cams_and_walk(images, present_classes(torch.tensor(LABELS)))[0]
    assert cams.shape == (2, 2, 32, 48)
    expected = cams_by_loop(model, images, [[0, 2], [1]], (1.0, 0.5, 1.5, 2.0))
    found = [cams[0, 0], cams[0, 1], cams[1, 0]]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not cams[1, 1].any()
    assert max(cam.std() for cam in found) > 0.01


@torch.no_grad()
def test_options_give_the_cams_of_afa():
    afa = make_afa().eval()
    model = make("mit", cam_scales=(1.0, 0.5, 1.5), cam_mirror="max", cam_subtract_min=True)
    model.backbone.load_state_dict(afa.backbone.state_dict())
    model.cls_head.load_state_dict(afa.cls_head.state_dict())
    inputs, class_idx = make_inputs(), present_classes(torch.tensor(LABELS))
    cams = model.eval().cams_and_walk(inputs, class_idx)[0]
    assert torch.equal(cams, afa.cams_and_walk(inputs, class_idx)[0])


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_gradient_reaches_every_weight_that_learns(backbone):
    model = make(backbone).train()
    model(make_inputs(), make_samples(LABELS), mode="loss")["loss_cls"].backward()
    found = gradients(model)
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(found) == learns  # as distributed training needs
    first = next(name for name in found if name.startswith("backbone."))
    assert found[first].abs().sum() > 0
    if backbone == "resnet38":
        assert not any(".bn" in name for name in learns)


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_cams_leave_no_trace_in_training(backbone):
    """Neither batch norm nor dropout: the CAMs of a model in training are those in evaluation."""
    model = make(backbone, head=dict(dropout_ratio=0.5)).train()
    inputs, class_idx = make_inputs(), present_classes(torch.tensor(LABELS))
    if backbone == "resnet50":
        assert batch_norms(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [m.training for m in model.modules()]
    cams = model.cams_and_walk(inputs, class_idx)[0]
    assert flags == [m.training for m in model.modules()] and all(flags)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not cams.requires_grad
    assert torch.equal(cams, model.eval().cams_and_walk(inputs, class_idx)[0])


@torch.no_grad()
def test_predict_gives_probabilities_and_nothing_that_it_has_not():
    model = make(pooling="max").eval()
    inputs = make_inputs()
    out = model(inputs, make_samples(LABELS, ori_shape=(20, 30)), mode="predict")
    logits = model(inputs, mode="tensor")["cls_logits"]
    for sample, logit in zip(out, logits, strict=True):
        torch.testing.assert_close(sample.pred_label, 1 / (1 + (-logit).exp()))
        assert {"pred_cam", "pred_sem_seg"}.isdisjoint(sample.keys())
    assert len(model(inputs, mode="predict")) == 2  # without data samples


@torch.no_grad()
def test_labels_from_cams_at_the_size_of_the_photo_without_padding():
    refiner = dict(type="PAR", num_iters=2, dilations=(1, 2))
    model = make(refiner=refiner, test_cfg=dict(pseudo_labels=True, bkg_thr=0.5)).eval()
    inputs = make_inputs(height=32, width=48)
    samples = make_samples(LABELS, ori_shape=(40, 50), img_padding_size=(0, 8, 0, 0))
    out = model(inputs, samples, mode="predict")
    class_idx = present_classes(torch.tensor(LABELS))
    masks = soft_masks(model.cams_and_walk(inputs, class_idx)[0], class_idx, 0.5)
    expected = label_of_masks(masks[..., :40], class_idx, (40, 50))
    found = torch.cat([sample.pred_cam.data for sample in out])
    assert torch.equal(found, expected) and len(found.unique()) > 2
    assert {int(k) for k in out[1].pred_cam.data.unique()} <= {0, 2}
    assert out[0].pred_par.shape == (40, 50)
    # Without image labels the predicted classes take their place.
    model.cls_head.classifier.weight.data.zero_()
    assert not model(inputs, mode="predict")[0].pred_cam.data.any()


@torch.no_grad()
def test_soft_maps_and_their_kinds():
    model, inputs = make().eval(), make_inputs()
    class_idx = present_classes(torch.tensor(LABELS))
    assert model.map_kinds == ("cam",)
    masks = model.map_maker(inputs, class_idx, ("cam",))("cam", [0.2, 0.6])
    cams = model.cams_and_walk(inputs, class_idx)[0]
    for t, score in enumerate((0.2, 0.6)):
        torch.testing.assert_close(masks[:, t], soft_masks(cams, class_idx, score))
    assert torch.equal(model.map_maker(inputs, class_idx).cams, cams)
    with pytest.raises(ValueError, match="makes no 'propagated' maps: it has no propagation"):
        model.map_maker(inputs, class_idx, ("propagated",))("propagated", [0.3])
    with_par = make(refiner=dict(type="PAR", num_iters=1, dilations=(1,))).eval()
    assert with_par.map_kinds == ("cam", "par")
    assert with_par.map_maker(inputs, class_idx, ("par",))("par", [0.3]).shape == (2, 1, 3, 16, 16)


@torch.no_grad()
def test_level_is_chosen():
    model = make("mit", in_index=1, head=dict(in_channels=64)).eval()
    out = model(make_inputs(), mode="tensor")
    assert out["cam"].shape == (2, 3, 4, 4) and model.num_classes == 4  # stage 2 is at stride 8
    assert model.extract_feat(make_inputs()).shape == (2, 64, 4, 4)


def test_no_class_and_no_image_labels():
    model = make()
    cams = model.cams_and_walk(make_inputs(), torch.zeros(2, 0, dtype=torch.long))[0]
    assert cams.shape == (2, 0, 32, 32)
    samples = make_samples(LABELS)
    del samples[1].gt_label
    with pytest.raises(ValueError, match="needs the image labels of every photo"):
        model(make_inputs(), samples, mode="loss")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(cam_scales=()), r"model\.cam_scales must be factors above 0, got \(\)"),
        (dict(cam_scales=(1.0, 0.0)), "factors above 0"),
        (dict(cam_mirror="mean"), r"model\.cam_mirror must be one of \('max', 'sum'\), got 'mean'"),
        (dict(test_cfg=dict(pseudo_label=True)), "did you mean 'pseudo_labels'"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_it_says_that_it_does_not_segment():
    assert MODELS.get("CAMClassifier") is CAMClassifier
    with pytest.raises(NotImplementedError, match="does not segment: make labels from its CAMs"):
        make().encode_decode(make_inputs(), [])


def test_image_features_are_pooled_in_evaluation_mode():
    model = make("mit", head=dict(dropout_ratio=0.5)).train()
    inputs = make_inputs()
    vectors = model.image_features(inputs)
    assert model.training and not vectors.requires_grad and vectors.shape == (2, 256)
    with torch.no_grad():
        feats = model.eval().extract_feat(inputs)
    torch.testing.assert_close(vectors, feats.flatten(2).mean(dim=2))


def test_background_score_is_that_of_the_fourth_power():
    thr = CAMClassifierTestCfg().bkg_thr
    assert (1 - thr) ** 4 == pytest.approx(thr, abs=0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(bkg_thr=1.2), r"test_cfg\.bkg_thr must be between 0 and 1, got 1\.2"),
        (dict(cls_thr=-0.1), r"test_cfg\.cls_thr must be between 0 and 1, got -0\.1"),
        (dict(refine_scale=0), r"test_cfg\.refine_scale must be above 0, got 0"),
        (dict(bkg_thrs=0.3), "has no entry 'bkg_thrs': did you mean 'bkg_thr'"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        from_cfg(CAMClassifierTestCfg, values, "model.test_cfg")


@MODELS.register_module()
class OneLevel(nn.Module):
    """A convolution with stride 4."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, x):
        return (self.conv(x).relu(),)


def _cfg(**changes):
    cfg = dict(
        backbone=dict(type="OneLevel"),
        cls_head=dict(type="CAMHead", in_channels=6, num_classes=4, pooling="avg"),
        sub_head=dict(type="SubCategoryHead", in_channels=6, num_classes=4, num_sub=2),
    )
    return {**cfg, **changes}


def _model(**changes):
    torch.manual_seed(0)
    return MODELS.build(dict(type="SubCategoryClassifier", **_cfg(**changes)))


def _parent(model):
    """The classifier without sub-categories, with the same weights."""
    cfg = _cfg()
    del cfg["sub_head"]
    parent = CAMClassifier(**cfg)
    parent.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("sub_head")}
    )
    return parent


def _samples(with_sub=True):
    """First image: class 0, sub-category 1, and class 2, sub-category 0; second: no class."""
    samples = []
    for label, sub in (([1, 0, 1], [0, 1, 0, 0, 1, 0]), ([0, 0, 0], [0] * 6)):
        sample = SegDataSample(metainfo=dict(ori_shape=(16, 12)))
        sample.set_data(dict(gt_label=torch.tensor(label, dtype=torch.float32)))
        if with_sub:
            sample.set_data(dict(gt_sub_label=torch.tensor(sub, dtype=torch.float32)))
        samples.append(sample)
    return samples


def test_registered_and_a_cam_classifier():
    assert isinstance(_model(), SubCategoryClassifier)
    assert issubclass(SubCategoryClassifier, CAMClassifier)


def test_the_loss_is_parent_plus_lambda_times_sub():
    model, inputs = _model(), torch.randn(2, 3, 16, 12)
    model.sub_head.loss_weight = 5.0
    losses = model(inputs, _samples(), mode="loss")
    assert set(losses) == {"loss_cls", "loss_sub"}
    parent = _parent(model)(inputs, _samples(), mode="loss")
    torch.testing.assert_close(losses["loss_cls"], parent["loss_cls"])
    logits = model(inputs, mode="tensor")["sub_logits"]
    labels = torch.tensor([[0, 1, 0, 0, 1, 0], [0] * 6]).float()
    sub = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(losses["loss_sub"], 5 * sub)


def test_both_losses_teach_the_backbone():
    model, inputs = _model(), torch.randn(2, 3, 16, 12)
    for key in ("loss_cls", "loss_sub"):
        model.zero_grad()
        model(inputs, _samples(), mode="loss")[key].backward()
        assert model.backbone.conv.weight.grad.abs().sum() > 0
    assert model.cls_head.classifier.weight.grad is None or (
        not model.cls_head.classifier.weight.grad.any()
    )  # the sub-categories do not teach the classes' weights


def test_scores_and_cams_are_those_of_the_classes():
    model, inputs = _model().eval(), torch.randn(2, 3, 16, 12)
    parent = _parent(model).eval()
    with torch.no_grad():
        found, wanted = (m(inputs, _samples(), mode="predict") for m in (model, parent))
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one.pred_label, other.pred_label) and one.pred_label.shape == (3,)
        class_idx = torch.tensor([[0, 2], [1, -1]])
        cams = model.cams_and_walk(inputs, class_idx)[0]
        assert cams.shape == (2, 2, 16, 12)
        assert torch.equal(cams, parent.cams_and_walk(inputs, class_idx)[0])
        outputs, others = model(inputs, mode="tensor"), parent(inputs, mode="tensor")
        assert outputs["sub_logits"].shape == (2, 6)
        for key, value in others.items():
            assert torch.equal(outputs[key], value)


def test_a_hidden_convolution_is_shared():
    hidden = dict(type="CAMHead", in_channels=6, num_classes=4, hidden_channels=5)
    model = _model(
        cls_head=hidden,
        sub_head=dict(type="SubCategoryHead", in_channels=5, num_classes=4, num_sub=2),
    )
    model(torch.randn(2, 3, 16, 12), _samples(), mode="loss")["loss_sub"].backward()
    assert model.cls_head.hidden[0].weight.grad.abs().sum() > 0


def test_one_token_and_no_class_at_all_are_finite():
    model = _model()
    losses = model(torch.randn(1, 3, 4, 4), _samples()[1:], mode="loss")
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_without_sub_categories():
    with pytest.raises(ValueError, match=r"gt_sub_label.*sub_labels file"):
        _model()(torch.randn(2, 3, 16, 12), _samples(with_sub=False), mode="loss")


def test_another_number_of_sub_categories():
    model = _model(sub_head=dict(type="SubCategoryHead", in_channels=6, num_classes=4))
    with pytest.raises(ValueError, match=r"30 sub-categories in all, .* have 6"):
        model(torch.randn(2, 3, 16, 12), _samples(), mode="loss")

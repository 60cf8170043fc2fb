import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from afa.models import CAMClassifier, SubCategoryClassifier


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
    init_default_scope("mmseg")
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
        cams = model.compute_cams(inputs, class_idx)
        assert cams.shape == (2, 2, 16, 12)
        assert torch.equal(cams, parent.compute_cams(inputs, class_idx))
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

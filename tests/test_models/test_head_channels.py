"""Heads take their channels from the backbone, and a wrong number is a sentence."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn
from toy_afa import afa_cfg, make_inputs
from toy_stages import AFFINITY_NET, CLASSIFIER

from afa.models.backbones import MiTAttn, ResNet38, TimmCNN, VGG16LargeFOV
from afa.models.head_channels import with_channels

HEADS = ("cls_head", "decode_head", "affinity_head")
MIT = dict(type="MiTAttn", arch="b0")


def _bare(cfg):
    """Take in_channels out of the heads of a config."""
    heads = {
        name: {key: value for key, value in cfg[name].items() if key != "in_channels"}
        for name in (*HEADS, "sub_head")
        if name in cfg
    }
    return {**cfg, **heads}


def _shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "backbone",
    [
        MiTAttn("b2"),
        ResNet38(base_channels=2, out_indices=(1, 5), frozen_bn=False),
        VGG16LargeFOV(base_channels=2, out_indices=(0, 2)),
        TimmCNN("resnet10t"),
    ],
    ids=lambda backbone: type(backbone).__name__,
)
def test_a_backbone_says_what_it_gives(backbone):
    with torch.no_grad():
        levels = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert list(backbone.out_channels) == [level.shape[1] for level in levels]


@pytest.mark.parametrize("cfg", [afa_cfg(), AFFINITY_NET, CLASSIFIER], ids=lambda cfg: cfg["type"])
def test_left_out_channels_are_those_that_were_given(cfg):
    assert _shapes(MODELS.build(_bare(cfg))) == _shapes(MODELS.build(cfg))


def test_another_arch_alone_is_another_model():
    model = MODELS.build(_bare(afa_cfg(backbone__arch="b2")))
    assert model.cls_head.classifier.in_channels == 512
    assert model.decode_head.in_channels == [64, 128, 320, 512]
    assert model.affinity_head.proj.in_channels == 16
    fewer = MODELS.build(_bare(afa_cfg(backbone__num_attn_blocks=1)))
    assert fewer.affinity_head.proj.in_channels == 8
    assert set(fewer(make_inputs(1))) == {"cls_logits", "seg_logits", "affinity", "cam"}


def test_a_network_of_timm_alone_is_another_model():
    backbone = dict(type="TimmCNN", name="resnet10t", num_attn_blocks=2, num_heads=4)
    model = MODELS.build({**_bare(afa_cfg()), "backbone": backbone})
    assert model.decode_head.in_channels == [64, 128, 256, 512]
    assert model.affinity_head.proj.in_channels == 8


def test_a_classifier_takes_those_of_its_level():
    head = dict(type="CAMHead", num_classes=4)
    model = MODELS.build(dict(type="CAMClassifier", backbone=MIT, cls_head=head, in_index=1))
    assert model.cls_head.classifier.in_channels == 64


def test_sub_categories_stand_on_what_the_classes_stand_on():
    cfg = dict(
        type="SubCategoryClassifier",
        backbone=MIT,
        cls_head=dict(type="CAMHead", num_classes=4, hidden_channels=5),
        sub_head=dict(type="SubCategoryHead", num_classes=4),
    )
    assert MODELS.build(cfg).sub_head.classifier.in_channels == 5


class _Silent(nn.Module):
    """A backbone of somebody else, which says nothing of its channels."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 7, 3, 2), nn.Conv2d(7, 9, 3, 2)])
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        first = self.convs[0](self.norm(x))
        return first, self.convs[1](first)


def test_a_backbone_that_says_nothing_is_asked_with_an_image():
    backbone = _Silent()
    backbone.convs.eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    states = torch.get_rng_state()
    head = with_channels(dict(type="FCNHead", channels=4, num_classes=3), "head", backbone)
    assert head["in_channels"] == 9
    assert torch.equal(states, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert backbone.training and not backbone.convs.training
    several = dict(type="SegformerHead", in_index=[1, 0], channels=4, num_classes=3)
    assert with_channels(several, "head", backbone)["in_channels"] == [9, 7]


def test_given_channels_of_a_silent_backbone_are_taken_as_they_are():
    head = dict(type="CAMHead", in_channels=3, num_classes=3)
    assert with_channels(head, "head", _Silent()) == head


class _Free(nn.Module):
    """A head that finds out for itself."""


def test_a_head_without_the_argument_does_not_get_it():
    assert with_channels(dict(type=_Free), "head", MiTAttn("b0")) == dict(type=_Free)
    assert with_channels(dict(type=_Free), "head", _Silent()) == dict(type=_Free)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            dict(cls_head__in_channels=512),
            "model.cls_head.in_channels is 512, but MiTAttn gives 256 there: leave in_channels out",
        ),
        (
            dict(decode_head__in_channels=[32, 64, 160, 512]),
            r"model.decode_head.in_channels is \[32, 64, 160, 512\], but MiTAttn gives \[32, 64, "
            r"160, 256\] there",
        ),
        (
            dict(affinity_head__in_channels=12),
            "model.affinity_head.in_channels is 12, but MiTAttn gives 16 attention maps",
        ),
        (
            dict(decode_head__in_index=[0, 1, 2, 4]),
            r"model.decode_head takes the map \[0, 1, 2, 4\] of the backbone .* MiTAttn gives 4",
        ),
    ],
)
def test_wrong_channels_are_a_sentence(changes, text):
    with pytest.raises(ValueError, match=text):
        MODELS.build(afa_cfg(**changes))


def test_wrong_channels_of_the_other_methods():
    wide = dict(AFFINITY_NET, backbone=MIT)
    with pytest.raises(ValueError, match=r"model.affinity_head.in_channels is \(4, 5, 6\), but"):
        MODELS.build(wide)
    cfg = dict(
        type="SubCategoryClassifier",
        backbone=MIT,
        cls_head=dict(type="CAMHead", num_classes=4),
        sub_head=dict(type="SubCategoryHead", in_channels=6, num_classes=4),
    )
    with pytest.raises(ValueError, match=r"model.sub_head.in_channels is 6, but cls_head class"):
        MODELS.build(cfg)

"""mmseg's EncoderDecoder, with heads that take their channels from backbone or neck."""

import mmseg.models
import pytest
import torch
from mmseg.registry import MODELS

from afa.models import EncoderDecoder

RESNET = dict(type="ResNet", depth=18, base_channels=4, norm_cfg=dict(type="BN"))
HEAD = dict(type="FCNHead", channels=4, num_convs=1, num_classes=3)


def _build(**parts):
    return MODELS.build(dict(type="EncoderDecoder", backbone=RESNET, **parts))


def test_heads_of_a_backbone_of_mmseg():
    model = _build(
        decode_head=dict(HEAD, in_index=-1),
        auxiliary_head=[dict(HEAD, in_index=2), dict(HEAD, in_index=1, in_channels=8)],
    )
    assert isinstance(model, EncoderDecoder)
    assert isinstance(model, mmseg.models.EncoderDecoder)
    assert model.decode_head.in_channels == 32
    assert [head.in_channels for head in model.auxiliary_head] == [16, 8]
    assert _build(decode_head=HEAD, auxiliary_head=HEAD).auxiliary_head.in_channels == 32
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape[1] == 3


def test_heads_behind_a_neck():
    neck = dict(type="FPN", in_channels=[4, 8, 16, 32], out_channels=6, num_outs=4)
    head = dict(HEAD, type="FPNHead", in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32])
    del head["num_convs"]
    model = _build(neck=neck, decode_head=head)
    assert model.decode_head.in_channels == [6, 6, 6, 6]
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape[1] == 3


def test_a_level_that_is_not_there():
    backbone = dict(type="ResNet38", base_channels=1, out_indices=(2, 5), frozen_bn=False)
    with pytest.raises(ValueError, match=r"takes the map 2 of the backbone .*ResNet38 gives 2"):
        MODELS.build(
            dict(type="EncoderDecoder", backbone=backbone, decode_head=dict(HEAD, in_index=2))
        )
    with pytest.raises(ValueError, match=r"auxiliary_head\[0\].in_channels is 5, but ResNet38"):
        MODELS.build(
            dict(
                type="EncoderDecoder",
                backbone=backbone,
                decode_head=HEAD,
                auxiliary_head=[dict(HEAD, in_channels=5)],
            )
        )

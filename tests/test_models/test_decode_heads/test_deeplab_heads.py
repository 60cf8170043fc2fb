import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from afa.models.backbones import ResNet38
from afa.models.decode_heads import DeepLabV2Head, LargeFOVHead, ResNet38SegHead
from afa.models.losses import BalancedCrossEntropyLoss


def make(**kwargs):
    head = DeepLabV2Head(in_channels=5, num_classes=3, **kwargs)
    head.init_weights()
    for parameter in head.parameters():
        parameter.data = torch.randn_like(parameter)
    return head.eval()


@torch.no_grad()
def test_logits_are_the_sum_of_the_branches():
    head, x = make(), torch.randn(2, 5, 9, 7)
    expected = torch.zeros(2, 3, 9, 7)
    for branch, rate in zip(head.branches, (6, 12, 18, 24), strict=True):
        expected += F.conv2d(x, branch.weight, branch.bias, padding=rate, dilation=rate)
    torch.testing.assert_close(head([x]), expected)


@torch.no_grad()
def test_field_of_view_by_one_bright_place():
    head = make(dilations=(1, 3))
    for parameter in head.parameters():
        parameter.fill_(0.0 if parameter.ndim == 1 else 1.0)
    x = torch.zeros(1, 5, 9, 9)
    x[0, 0, 4, 4] = 1.0
    logits = head([x])[0, 0]
    assert logits[4, 4] == 2  # both branches
    assert logits.nonzero().tolist() == [
        [y, x]
        for y in range(9)
        for x in range(9)
        if {y, x} <= {1, 4, 7} or (abs(y - 4) <= 1 and abs(x - 4) <= 1)
    ]


def test_weights_and_init():
    head = DeepLabV2Head(in_channels=5, num_classes=3)
    head.init_weights()
    assert sum(p.numel() for p in head.parameters()) == 4 * (5 * 3 * 9 + 3)
    assert all(name.startswith("branches.") for name in head.state_dict())
    assert all(0 < b.weight.std() < 0.02 and not b.bias.any() for b in head.branches)


def test_level_and_dropout():
    feats = [torch.randn(1, 7, 4, 4), torch.randn(1, 5, 4, 4)]
    head = make(in_index=1)
    assert torch.equal(head(feats), make_like(head)([feats[1]]))
    dropping = make(dropout_ratio=0.5).train()
    assert not torch.equal(dropping(feats), dropping(feats))


def make_like(head):
    other = DeepLabV2Head(in_channels=5, num_classes=3, in_index=0)
    other.load_state_dict(head.state_dict())
    return other


def test_unlabelled_pixels_do_not_dilute_the_loss():
    head, x = make(), [torch.randn(1, 5, 4, 4)]
    losses = []
    for part in (4, 2):
        label = torch.full((1, 4, 4), 255)
        label[..., :part] = 1
        sample = SegDataSample(gt_sem_seg=PixelData(data=label))
        losses.append((head.loss(x, [sample], None)["loss_ce"], part))
    logits = head(x)
    for loss, part in losses:
        expected = F.cross_entropy(logits[..., :part], torch.ones(1, 4, part, dtype=torch.long))
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("head", [DeepLabV2Head, LargeFOVHead, ResNet38SegHead])
def test_the_default_loss_gives_way(head):
    assert head(4, 2).loss_decode.avg_non_ignore
    own = dict(type="BalancedCrossEntropyLoss")
    assert isinstance(head(4, 2, loss_decode=own).loss_decode, BalancedCrossEntropyLoss)
    losses = head(4, 2, loss_decode=[own]).loss_decode
    assert len(losses) == 1 and isinstance(losses[0], BalancedCrossEntropyLoss)


@pytest.mark.parametrize("dilations", [(), (6, 0)])
def test_wrong_rates_are_named(dilations):
    with pytest.raises(ValueError, match="dilations must be rates of at least 1"):
        make(dilations=dilations)


def test_encoder_decoder_trains_every_weight():
    model = MODELS.build(
        dict(
            type="EncoderDecoder",
            data_preprocessor=dict(type="SegDataPreProcessor"),
            backbone=dict(type="ResNet38", base_channels=1, out_indices=(5,), frozen_bn=False),
            decode_head=dict(type="DeepLabV2Head", in_channels=64, num_classes=3),
        )
    )
    model.init_weights()
    assert isinstance(model.backbone, ResNet38)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 32, 24))))
    losses = model(torch.randn(2, 3, 32, 24), [sample, sample], mode="loss")
    losses["decode.loss_ce"].backward()
    assert all(p.grad is not None for p in model.parameters())  # as distributed training needs
    assert model.backbone.conv1a.weight.grad.abs().sum() > 0
    meta = [dict(img_shape=(32, 24))]
    assert model.eval().encode_decode(torch.randn(1, 3, 32, 24), meta).shape == (1, 3, 32, 24)


def test_logits_by_hand():
    head = LargeFOVHead(in_channels=2, num_classes=3).eval()
    head.conv_seg.weight.data = torch.tensor([[1.0, 0], [0, 2], [1, -1]])[:, :, None, None]
    head.conv_seg.bias.data = torch.tensor([0.0, 1, 0])
    feat = torch.tensor([[3.0, 4.0], [5.0, 6.0]]).view(1, 2, 1, 2)
    assert head([feat])[0, :, 0].tolist() == [[3, 4], [11, 13], [-2, -2]]


def test_dropout_is_that_behind_fc7():
    head = LargeFOVHead(in_channels=64, num_classes=2)
    head.conv_seg.weight.data.fill_(1.0)
    head.conv_seg.bias.data.zero_()
    kept = head([torch.ones(1, 64, 1, 1)])[0, 0].item() / 2
    assert kept == int(kept) and 16 < kept < 48
    assert head.eval()([torch.ones(1, 64, 1, 1)])[0, 0].item() == 64
    assert LargeFOVHead(4, 2, dropout_ratio=0.0).dropout is None


def test_encoder_decoder_with_vgg16():
    model = MODELS.build(
        dict(
            type="EncoderDecoder",
            data_preprocessor=dict(type="SegDataPreProcessor"),
            backbone=dict(type="VGG16LargeFOV", base_channels=2, out_indices=(5,)),
            decode_head=dict(type="LargeFOVHead", in_channels=32, num_classes=3),
        )
    )
    model.init_weights()
    assert 0 < model.decode_head.conv_seg.weight.std() < 0.02
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 32, 24))))
    model(torch.randn(1, 3, 32, 24), [sample], mode="loss")["decode.loss_ce"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.backbone.conv1_1.weight.grad.abs().sum() > 0


def make_resnet38(**kwargs):
    head = ResNet38SegHead(in_channels=6, num_classes=3, channels=4, **kwargs)
    head.init_weights()
    return head


@torch.no_grad()
def test_logits_are_two_dilated_convolutions():
    head = make_resnet38().eval()
    for parameter in head.parameters():
        parameter.normal_()
    x = torch.randn(2, 6, 30, 28)
    hidden = F.conv2d(x, head.conv.conv.weight, head.conv.conv.bias, padding=12, dilation=12)
    logits = F.conv2d(
        hidden.clamp(min=0), head.conv_seg.weight, head.conv_seg.bias, padding=12, dilation=12
    )
    torch.testing.assert_close(head([x]), logits)


def test_number_of_weights_and_their_init():
    with torch.device("meta"):
        head = ResNet38SegHead(in_channels=4096, num_classes=21)
    assert sum(p.numel() for p in head.parameters()) == 4096 * 512 * 9 + 512 + 512 * 21 * 9 + 21
    head = make_resnet38()
    assert 0 < head.conv_seg.weight.std() < 0.02 and not head.conv_seg.bias.any()
    # The first is followed by a ReLU, and drawn for one: variance 2 / (4 channels * 9).
    assert 0.18 < head.conv.conv.weight.std() < 0.29


def test_norm_and_dropout_are_options():
    head = make_resnet38(norm_cfg=dict(type="BN"), dropout_ratio=0.5, in_index=0)
    assert isinstance(head.conv.bn, nn.BatchNorm2d) and head.conv.conv.bias is None
    x = torch.randn(2, 6, 4, 4)
    assert not torch.equal(head([x]), head([x]))
    head.eval()
    assert torch.equal(head([x]), head([x]))


def test_gradient_reaches_every_weight():
    head = make_resnet38()
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    head([x]).sum().backward()
    assert x.grad.abs().sum() > 0 and all(p.grad is not None for p in head.parameters())


def test_wrong_rate_is_named():
    with pytest.raises(ValueError, match="dilation must be at least 1, but got 0"):
        make_resnet38(dilation=0)

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afa.models.decode_heads import ResNet38SegHead


def make(**kwargs):
    head = ResNet38SegHead(in_channels=6, num_classes=3, channels=4, **kwargs)
    head.init_weights()
    return head


@torch.no_grad()
def test_logits_are_two_dilated_convolutions():
    head = make().eval()
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
    head = make()
    assert 0 < head.conv_seg.weight.std() < 0.02 and not head.conv_seg.bias.any()
    # The first is followed by a ReLU, and drawn for one: variance 2 / (4 channels * 9).
    assert 0.18 < head.conv.conv.weight.std() < 0.29


def test_norm_and_dropout_are_options():
    head = make(norm_cfg=dict(type="BN"), dropout_ratio=0.5, in_index=0)
    assert isinstance(head.conv.bn, nn.BatchNorm2d) and head.conv.conv.bias is None
    x = torch.randn(2, 6, 4, 4)
    assert not torch.equal(head([x]), head([x]))
    head.eval()
    assert torch.equal(head([x]), head([x]))


def test_gradient_reaches_every_weight():
    head = make()
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    head([x]).sum().backward()
    assert x.grad.abs().sum() > 0 and all(p.grad is not None for p in head.parameters())


def test_wrong_rate_is_named():
    with pytest.raises(ValueError, match="dilation must be at least 1, but got 0"):
        make(dilation=0)

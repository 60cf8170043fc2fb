import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from afa.models.backbones import ResNet38
from afa.models.decode_heads import DeepLabV2Head


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


@pytest.mark.parametrize("dilations", [(), (6, 0)])
def test_wrong_rates_are_named(dilations):
    with pytest.raises(ValueError, match="dilations must be rates of at least 1"):
        make(dilations=dilations)


def test_encoder_decoder_trains_every_weight():
    init_default_scope("mmseg")
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

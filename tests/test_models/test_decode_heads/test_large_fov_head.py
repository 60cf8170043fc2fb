import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from afa.models.decode_heads import LargeFOVHead


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
    init_default_scope("mmseg")
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

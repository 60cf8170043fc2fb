import torch

from afa.models.backbones import MiTAttn
from afa.testing.plain_encoder import last_attention, plain_encode


def test_features_and_attention_are_those_of_the_backbone():
    torch.manual_seed(0)
    backbone = MiTAttn("b0", drop_path_rate=0.5)
    backbone.init_weights()
    images = torch.randn(2, 3, 64, 96)
    feats, attn = backbone(images, with_attn=True, drop_path=False)
    plain, every = plain_encode(backbone, images, use_drop_path=False)
    for one, other in zip(plain, feats, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert len(every) == 8 and every[0].shape == (2, 1, 16 * 24, 2 * 3)
    torch.testing.assert_close(last_attention(backbone, every), attn, rtol=1e-4, atol=1e-5)


def test_drop_path_is_a_matter_of_training():
    backbone = MiTAttn("b0", drop_path_rate=0.9).train()
    images = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    dropped = plain_encode(backbone, images)[0][-1]
    torch.manual_seed(0)
    torch.testing.assert_close(dropped, backbone(images)[-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(dropped, plain_encode(backbone.eval(), images)[0][-1])

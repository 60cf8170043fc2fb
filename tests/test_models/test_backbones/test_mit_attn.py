from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from afa.models.backbones import MiTAttn
from afa.models.backbones.mit_attn import (
    ARCHS,
    EfficientAttention,
    MiTBlock,
    map_to_tokens,
    tokens_to_map,
)

WEIGHTS = Path(__file__).parents[4] / "shared/weights/mit_b0_tiny-imagenet.pth"
MILLIONS = {"b0": 3.4, "b1": 13.1, "b2": 24.2, "b3": 44.0, "b4": 60.8, "b5": 81.4}


@pytest.fixture(autouse=True)
def _one_thread():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def backbone():
    """A B0 whose biases are not zero, so that no term can go missing unseen."""
    model = MiTAttn("b0")
    model.init_weights()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("arch", MILLIONS)
def test_number_of_parameters_is_the_published_one(arch):
    with torch.device("meta"):
        model = MiTAttn(arch, num_attn_blocks=1)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[arch], rel=0.03)
    assert model.embed_dims == ARCHS[arch].embed_dims
    assert model.num_attn == 8


def test_feature_maps_and_attention_have_the_promised_shapes(backbone):
    feats, attn = backbone(torch.randn(2, 3, 64, 96), with_attn=True)
    assert [tuple(f.shape) for f in feats] == [
        (2, 32, 16, 24),
        (2, 64, 8, 12),
        (2, 160, 4, 6),
        (2, 256, 4, 6),
    ]
    assert attn.shape == (2, backbone.num_attn, 24, 24) == (2, 16, 24, 24)
    assert attn.dtype == torch.float32


@pytest.mark.parametrize("strides", [(4, 2, 2, 2), (2, 2, 1, 1), [3, 1, 2, 1]])
def test_strides_are_those_of_the_embeddings(strides):
    model = MiTAttn("b0", strides=strides).eval()
    side = 24
    for feat, stride in zip(model(torch.randn(1, 3, side, side)), strides, strict=True):
        side = -(-side // stride)  # patches at every stride-th pixel, the first one included
        assert feat.shape[-2:] == (side, side)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 5), (31, 47)])
def test_any_size_of_image_works_in_both_modes(backbone, size):
    for mode in (True, False):
        feats, attn = backbone.train(mode)(torch.randn(1, 3, *size), with_attn=True)
        assert all(f.isfinite().all() for f in feats)
        num_tokens = feats[3].shape[2] * feats[3].shape[3]
        assert attn.shape == (1, 16, num_tokens, num_tokens)


def test_features_do_not_depend_on_with_attn(backbone):
    images = torch.randn(2, 3, 65, 48)
    with torch.no_grad():
        plain, (feats, _) = backbone(images), backbone(images, with_attn=True)
    for a, b in zip(plain, feats, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_attn_blocks", [1, 2])
def test_logits_are_those_of_a_plain_loop(num_attn_blocks):
    model = MiTAttn("b0", num_attn_blocks=num_attn_blocks).eval()
    inputs = []
    for block in model.block4[-num_attn_blocks:]:
        block.norm1.register_forward_hook(lambda module, args, out: inputs.append(out))
    with torch.no_grad():
        _, attn = model(torch.randn(1, 3, 32, 48), with_attn=True)

        expected = torch.zeros_like(attn)
        for b, (x, block) in enumerate(zip(inputs, model.block4[-num_attn_blocks:], strict=True)):
            q_rows, k_rows = block.attn.q.weight, block.attn.kv.weight[:256]
            for head in range(8):
                rows = slice(32 * head, 32 * head + 32)
                for i in range(6):
                    for j in range(6):
                        q = q_rows[rows] @ x[0, i] + block.attn.q.bias[rows]
                        k = k_rows[rows] @ x[0, j] + block.attn.kv.bias[:256][rows]
                        expected[0, 8 * b + head, i, j] = (q * k).sum()
    torch.testing.assert_close(attn, expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_row_major():
    feature_map = torch.arange(6.0).view(1, 1, 2, 3)  # rows 0 1 2 and 3 4 5
    tokens = map_to_tokens(feature_map)
    assert tokens[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(tokens_to_map(tokens, (2, 3)), feature_map)


def test_attention_on_two_tokens_by_hand():
    attention = EfficientAttention(embed_dims=1, num_heads=1, sr_ratio=1)
    with torch.no_grad():
        attention.q.weight.fill_(2.0)
        attention.kv.weight.copy_(torch.tensor([[1.0], [3.0]]))  # key x, value 3x
        attention.proj.weight.fill_(1.0)
        for layer in (attention.q, attention.kv, attention.proj):
            layer.bias.zero_()
        tokens = torch.tensor([[[0.0], [1.0]]])
        out, (logits,) = attention(tokens, (1, 2), hand_out="attn")
        fused, (q, k) = attention(tokens, (1, 2), hand_out="qk")
        assert attention(tokens, (1, 2))[1] == ()
    assert q.flatten().tolist() == [0, 2] and k.flatten().tolist() == [0, 1]
    torch.testing.assert_close(fused, out)
    assert logits.tolist() == [[[[0.0, 0.0], [0.0, 2.0]]]]
    # token 0: equal weights, (0 + 3) / 2; token 1: weight e^2 / (1 + e^2) on the value 3
    torch.testing.assert_close(out[0, :, 0], torch.tensor([1.5, 3 * 0.8807971]))


def test_queries_and_keys_make_the_logits(backbone):
    images = torch.randn(2, 3, 64, 96)
    feats, attn = backbone(images, with_attn=True, drop_path=False)
    same, (q, k) = backbone(images, with_qk=True, drop_path=False)
    assert q.shape == k.shape == (2, backbone.num_attn, 24, backbone.head_dim)
    torch.testing.assert_close(q @ k.transpose(2, 3), attn, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same[-1], feats[-1], rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError, match="or what they are made of"):
        backbone(images, with_attn=True, with_qk=True)


def test_only_the_asked_blocks_make_an_attention_matrix(backbone, monkeypatch):
    calls = []
    fused = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v: calls.append(q.shape) or fused(q, k, v),
    )
    backbone(torch.randn(1, 3, 32, 32))
    assert len(calls) == sum(backbone.depths) == 8
    calls.clear()
    backbone(torch.randn(1, 3, 32, 32), with_attn=True)
    assert len(calls) == 6
    calls.clear()
    backbone(torch.randn(1, 3, 32, 32), with_qk=True)
    assert len(calls) == 8


def test_logits_stay_float32_under_autocast_and_teach_queries_and_keys(backbone):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feats, attn = backbone(torch.randn(1, 3, 32, 32), with_attn=True)
    assert attn.dtype == torch.float32
    assert feats[0].dtype == torch.bfloat16
    attn.sum().backward()
    last = backbone.block4[-1].attn
    assert last.q.weight.grad.abs().sum() > 0
    assert last.kv.weight.grad[:256].abs().sum() > 0
    assert last.kv.weight.grad[256:].abs().sum() == 0  # values are not in the logits
    assert last.proj.weight.grad is None


def test_huge_queries_and_keys_do_not_overflow_in_bfloat16(backbone):
    attn_layers = [block.attn for block in backbone.block4]
    with torch.no_grad():
        for layer in attn_layers:
            layer.q.weight.mul_(1e6)
            layer.kv.weight.mul_(1e6)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        feats, attn = backbone(torch.randn(1, 3, 32, 32), with_attn=True)
        fused = backbone(torch.randn(1, 3, 32, 32))
    assert attn.abs().max() > 1e8  # half precision ends at 65504
    assert torch.isfinite(attn).all()
    assert all(torch.isfinite(feat).all() for feat in (*feats, *fused))


@torch.no_grad()
def test_drop_path_keeps_or_scales_whole_samples():
    block = MiTBlock(2, 1, 1, 1, 0.25)
    block.attn.proj.weight.zero_()
    block.attn.proj.bias.fill_(1.0)  # the first branch gives 1, the second 0
    block.mlp.fc2.weight.zero_()
    block.mlp.fc2.bias.zero_()
    x = torch.randn(1, 3, 2).expand(1000, 3, 2)
    per_sample = (block(x, (1, 3))[0] - x).flatten(1)
    torch.testing.assert_close(per_sample, per_sample[:, :1].expand(1000, 6))
    kept = per_sample[:, 0] > 0.5
    torch.testing.assert_close(per_sample[:, 0], kept * (4 / 3))
    assert kept.float().mean() == pytest.approx(0.75, abs=0.05)
    torch.testing.assert_close(block.eval()(x, (1, 3))[0], x + 1)


def test_drop_path_rate_grows_linearly():
    model = MiTAttn("b0", drop_path_rate=0.35)
    rates = [m.drop_path_rate for m in model.modules() if isinstance(m, MiTBlock)]
    assert (rates[0], rates[-1]) == (0.0, pytest.approx(0.35))
    assert [b - a for a, b in pairwise(rates)] == pytest.approx([0.05] * 7)


def test_drop_path_acts_in_training_only_and_can_be_switched_off():
    model = MiTAttn("b0", drop_path_rate=0.9)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        reference = model.eval()(images)[3]
        model.train()
        assert torch.equal(model(images, drop_path=False)[3], reference)
        assert not torch.allclose(model(images)[3], reference)
        assert model.training


def test_every_parameter_gets_a_gradient(backbone):
    feats = backbone(torch.randn(1, 3, 32, 32))
    sum((f * torch.randn_like(f)).sum() for f in feats).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_random_weights_are_drawn_as_in_segformer():
    model = MiTAttn("b1")
    model.init_weights()
    state = model.state_dict()
    expected = {
        "block4.0.mlp.fc1": 0.02,
        "patch_embed3.proj": (2 / (9 * 320)) ** 0.5,
        "block4.0.mlp.dwconv.dwconv": (2 / 9) ** 0.5,  # fan out of one group
    }
    for name, std in expected.items():
        assert state[f"{name}.weight"].std().item() == pytest.approx(std, rel=0.03)
    assert not any(v.any() for k, v in state.items() if k.endswith("bias"))
    assert all(bool((m.weight == 1).all()) for m in model.modules() if isinstance(m, nn.LayerNorm))


def test_norms_have_the_eps_of_the_official_weights():
    model = MiTAttn("b0")
    assert {model.norm4.eps, model.block1[0].norm1.eps, model.block1[0].norm2.eps} == {1e-6}
    assert {model.patch_embed1.norm.eps, model.block1[0].attn.norm.eps} == {1e-5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "b6"}, "arch must be one of b0, b1, .*'b6'"),
        ({"arch": "b0", "strides": (4, 2, 2)}, r"strides must be four integers .*\(4, 2, 2\)"),
        ({"arch": "b0", "strides": (4, 2, 0, 1)}, "strides must be four integers of at least 1"),
        ({"arch": "b0", "strides": (4, 2, 2, 1.5)}, "strides must be four integers"),
        ({"arch": "b0", "num_attn_blocks": 0}, "num_attn_blocks must be 1 to 2, .* got 0"),
        ({"arch": "b2", "num_attn_blocks": 4}, "num_attn_blocks must be 1 to 3, .*MiT-B2"),
        ({"arch": "b0", "drop_path_rate": 1.0}, r"drop_path_rate must be in \[0, 1\)"),
        ({"arch": "b0", "init_cfg": {"type": "Kaiming"}}, "init_cfg must be None or dict"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MiTAttn(**arguments)


def test_registry_knows_the_backbone():
    from mmseg.registry import MODELS

    assert isinstance(MODELS.build({"type": "MiTAttn", "arch": "b0"}), MiTAttn)


def test_shared_weights_load_through_init_cfg():
    if not WEIGHTS.exists():
        pytest.skip(f"{WEIGHTS.name} is not there")
    model = MiTAttn("b0", init_cfg={"type": "Pretrained", "checkpoint": str(WEIGHTS)})
    model.init_weights()
    state = torch.load(WEIGHTS, weights_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    with pytest.raises(ValueError, match=r"do not fit MiT-B1: .*They look like MiT-B0"):
        MiTAttn("b1", init_cfg=model.init_cfg).init_weights()

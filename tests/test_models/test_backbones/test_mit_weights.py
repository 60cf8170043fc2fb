import re

import pytest
import torch
from mmengine.runner import save_checkpoint
from mmengine.runner.checkpoint import weights_to_cpu
from mmseg.models.backbones import MixVisionTransformer
from safetensors.torch import save_file
from torch import nn
from toy_afa import make_afa

from afa.models.backbones import MiTAttn
from afa.models.backbones.mit_weights import (
    convert_mit_state_dict,
    fit_mit_weights,
    guess_arch,
)

HUGGINGFACE = (
    (r"^patch_embed(\d)\.proj", lambda i: f"patch_embeddings.{i}.proj"),
    (r"^patch_embed(\d)\.norm", lambda i: f"patch_embeddings.{i}.layer_norm"),
    (r"^norm(\d)", lambda i: f"layer_norm.{i}"),
    (r"^block(\d)\.", lambda i: f"block.{i}."),
)
HUGGINGFACE_BLOCK = {
    ".norm1.": ".layer_norm_1.",
    ".norm2.": ".layer_norm_2.",
    ".attn.q.": ".attention.self.query.",
    ".attn.sr.": ".attention.self.sr.",
    ".attn.norm.": ".attention.self.layer_norm.",
    ".attn.proj.": ".attention.output.dense.",
    ".fc1.": ".dense1.",
    ".fc2.": ".dense2.",
}


def to_huggingface(state, prefix="segformer.encoder."):
    """Name official weights as nvidia/mit-b* does."""
    out = {}
    for key, value in state.items():
        for pattern, new in HUGGINGFACE:
            key = re.sub(pattern, lambda m, new=new: new(int(m[1]) - 1), key)
        if key.startswith("block."):
            for old, new in HUGGINGFACE_BLOCK.items():
                key = key.replace(old, new)
        if ".attn.kv." in key:
            half = value.shape[0] // 2
            out[prefix + key.replace("attn.kv", "attention.self.key")] = value[:half]
            out[prefix + key.replace("attn.kv", "attention.self.value")] = value[half:]
        else:
            out[prefix + key] = value
    return out


MMSEG_BLOCK = {
    ".mlp.fc1.": ".ffn.layers.0.",
    ".mlp.dwconv.dwconv.": ".ffn.layers.1.",
    ".mlp.fc2.": ".ffn.layers.4.",
    ".attn.proj.": ".attn.attn.out_proj.",
}


def to_mmseg(state, prefix="backbone."):
    """Name official weights as mmseg's MixVisionTransformer does."""
    out = {}
    for key, value in state.items():
        if ".attn.kv." in key:
            continue  # goes with q
        if ".attn.q." in key:
            value = torch.cat([value, state[key.replace(".q.", ".kv.")]])
            key = key.replace(".attn.q.", ".attn.attn.in_proj_")
        key = re.sub(
            r"^patch_embed(\d)\.proj", lambda m: f"layers.{int(m[1]) - 1}.0.projection", key
        )
        key = re.sub(r"^patch_embed(\d)\.norm", lambda m: f"layers.{int(m[1]) - 1}.0.norm", key)
        key = re.sub(r"^norm(\d)", lambda m: f"layers.{int(m[1]) - 1}.2", key)
        key = re.sub(r"^block(\d)", lambda m: f"layers.{int(m[1]) - 1}.1", key)
        for old, new in MMSEG_BLOCK.items():
            key = key.replace(old, new)
        if key.endswith((".ffn.layers.0.weight", ".ffn.layers.4.weight")):
            value = value[:, :, None, None]  # linear layer -> 1x1 convolution
        out[prefix + key] = value
    return out


def assert_same(given, expected):
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[k], v) for k, v in expected.items())


@pytest.fixture(scope="module")
def official():
    torch.manual_seed(0)
    return {k: torch.randn_like(v) for k, v in MiTAttn("b0").state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "module.backbone."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_official_names_come_back_from_any_prefix_and_wrapper(official, prefix, wrapper):
    state = {prefix + k: v for k, v in official.items()}
    state = {wrapper: state, "epoch": 3} if wrapper else state
    assert_same(convert_mit_state_dict(state), official)


def test_heads_are_left_out_and_logged(official, messages):
    state = {f"backbone.{k}": v for k, v in official.items()}
    state |= {"decode_head.conv_seg.weight": torch.ones(1)}
    assert_same(convert_mit_state_dict(state), official)
    assert messages == ["Left out 1 weights that are not the backbone's: decode_head."]
    assert_same(convert_mit_state_dict(official | {"head.weight": torch.ones(1)}), official)
    assert "head." in messages[1]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_our_own_checkpoints_are_recognised(official, prefix):
    state = {f"{prefix}backbone.{k}": v for k, v in official.items()}
    state |= {f"{prefix}cls_head.classifier.weight": torch.ones(1)}
    assert_same(convert_mit_state_dict(state), official)


def test_mmseg_weights_give_mmseg_features():
    torch.manual_seed(0)
    source = MixVisionTransformer(
        embed_dims=32, num_layers=[2, 2, 2, 2], num_heads=[1, 2, 5, 8], norm_cfg={"type": "LN"}
    ).eval()
    for parameter in source.parameters():  # not the ones and zeros of a new norm or bias
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = {f"backbone.{k}": v for k, v in source.state_dict().items()}

    model = MiTAttn("b0", strides=(4, 2, 2, 2)).eval()
    model.load_state_dict(convert_mit_state_dict(state))
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # mmseg has one eps for all, the official program two
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(model(images), source(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", ["segformer.encoder.", "encoder.", ""])
def test_huggingface_weights(official, prefix):
    state = to_huggingface(official, prefix)
    state["classifier.weight"] = torch.ones(1000, 256)
    for kind in ("query", "key", "value"):  # the names of nvidia/mit-b0
        assert f"{prefix}block.3.1.attention.self.{kind}.weight" in state
    assert f"{prefix}block.0.0.mlp.dwconv.dwconv.weight" in state
    assert_same(convert_mit_state_dict(state), official)


@pytest.mark.parametrize("arch", ["b0", "b1", "b2", "b3", "b4", "b5"])
def test_size_is_recognised(arch):
    with torch.device("meta"):
        state = MiTAttn(arch).state_dict()
    assert guess_arch(state) == arch
    del state["norm4.bias"]
    assert guess_arch(state) == arch
    assert guess_arch({k: v for k, v in state.items() if not k.startswith("block3")}) is None


def test_missing_and_misshaped_weights_are_named(official):
    state = dict(official)
    del state["block2.1.mlp.fc1.bias"]
    state["norm3.weight"] = torch.ones(7)
    with pytest.raises(
        ValueError,
        match=r"do not fit MiT-B0: 1 missing \(block2\.1\.mlp\.fc1\.bias\), 1 of another shape "
        r"\(norm3\.weight is \(7,\) instead of \(160,\)\)",
    ):
        fit_mit_weights(state, official, "b0")


@pytest.mark.parametrize(("file", "network"), [("b0", "b1"), ("b1", "b2"), ("b2", "b1")])
def test_weights_of_another_size_are_refused_with_the_right_name(file, network):
    with torch.device("meta"):
        given, expected = MiTAttn(file).state_dict(), MiTAttn(network).state_dict()
    with pytest.raises(ValueError, match=rf"They look like MiT-B\d: set arch='{file}'"):
        fit_mit_weights(given, expected, network)


def test_unexpected_weights_are_logged_and_left_out(official, messages):
    fitted = fit_mit_weights(official | {"pos_embed": torch.ones(1)}, official, "b0")
    assert_same(fitted, official)
    assert messages == ["1 weights have no place in MiT-B0 and are left out: pos_embed."]


def test_unknown_names_of_the_other_layouts_stay_visible(official):
    extra = "segformer.encoder.block.0.0.attention.self.odd.weight"
    out = convert_mit_state_dict(to_huggingface(official) | {extra: torch.ones(1)})
    assert "block.0.0.attention.self.odd.weight" in out
    mmseg = {
        "layers.0.0.projection.weight": torch.ones(1),
        "layers.0.1.0.odd.weight": torch.ones(1),
    }
    assert set(convert_mit_state_dict(mmseg)) == {
        "patch_embed1.proj.weight",
        "layers.0.1.0.odd.weight",
    }


def test_a_key_without_its_value_is_missed(official):
    state = to_huggingface(official)
    del state["segformer.encoder.block.0.1.attention.self.value.bias"]
    with pytest.raises(ValueError, match=r"1 missing \(block1\.1\.attn\.kv\.bias\)"):
        fit_mit_weights(convert_mit_state_dict(state), official, "b0")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.0.conv1.weight": torch.ones(1)}, "hold no Mix Transformer: .*layer1.0.conv1"),
        ({"epoch": 3}, "must be a dict of named tensors, but got a dict with epoch"),
        ({}, "but got an empty dict"),
        ([1, 2], "but got a list"),
        (
            {
                "a.patch_embed1.proj.weight": torch.ones(1),
                "b.patch_embed1.proj.weight": torch.ones(1),
            },
            "several Mix Transformers, below 'a.', 'b.'",
        ),
    ],
)
def test_what_is_no_mix_transformer_is_said(state, message):
    with pytest.raises(ValueError, match=message):
        convert_mit_state_dict(state)


def our_checkpoint(official, path):
    """Write what mmengine writes for a whole AFA model whose backbone has these weights."""
    model = make_afa()
    model.backbone.load_state_dict(official)
    save_checkpoint(
        {"state_dict": weights_to_cpu(model.state_dict()), "meta": {"iter": 7}, "optimizer": {}},
        str(path),
    )


def authors_checkpoint(official):
    """Name weights as the AFA authors' program does, heads included (of any size)."""
    state = {f"module.encoder.{k}": v for k, v in official.items()}
    heads = ("decoder.linear_pred.weight", "attn_proj.weight", "classifier.weight")
    return state | {f"module.{name}": torch.ones(1) for name in heads}


LAYOUTS = {
    "segformer.pth": lambda state: state | {"head.weight": torch.ones(1000, 256)},
    "mmseg_backbone.pth": lambda state: {"state_dict": to_mmseg(state, ""), "meta": {}},
    "mmseg_model.pth": lambda state: {
        "state_dict": to_mmseg(state) | {"decode_head.conv_seg.weight": torch.ones(19, 256, 1, 1)}
    },
    "huggingface.bin": lambda state: to_huggingface(state) | {"classifier.bias": torch.ones(9)},
    "huggingface.safetensors": to_huggingface,
    "authors.pth": authors_checkpoint,
    "ours.pth": None,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_init_cfg_reads_every_layout(official, name, tmp_path):
    path = tmp_path / name
    if name == "ours.pth":
        our_checkpoint(official, path)
    elif name.endswith(".safetensors"):
        save_file({k: v.contiguous() for k, v in LAYOUTS[name](official).items()}, path)
    else:
        torch.save(LAYOUTS[name](official), path)
    model = MiTAttn("b0", init_cfg={"type": "Pretrained", "checkpoint": str(path)})
    model.init_weights()
    assert_same(model.state_dict(), official)


def test_made_up_mmseg_names_are_those_of_mmseg(official):
    theirs = MixVisionTransformer(embed_dims=32, num_heads=[1, 2, 5, 8], num_layers=[2, 2, 2, 2])
    shapes = {k: v.shape for k, v in to_mmseg(official, "").items()}
    assert shapes == {k: v.shape for k, v in theirs.state_dict().items()}


def test_pretrained_names_the_file_that_does_not_fit(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save({"layer1.weight": torch.ones(1)}, path)
    model = MiTAttn("b0", init_cfg={"type": "Pretrained", "checkpoint": str(path)})
    with pytest.raises(ValueError, match=r"resnet\.pth: The weights hold no Mix Transformer"):
        model.init_weights()

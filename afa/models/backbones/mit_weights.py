"""Weights of the Mix Transformer: its sizes, and the layouts that are in circulation.

Three programs name the same numbers differently. `MiTAttn` has SegFormer's names, also in our own
checkpoints, below `backbone.`; i is the stage (1 to 4), j the block.

| layout      | patch embedding                 | block            | keys and values          |
|-------------|---------------------------------|------------------|--------------------------|
| segformer   | patch_embed{i}.proj             | block{i}.{j}     | kv (2C rows, keys first) |
| mmseg       | layers.{i-1}.0.projection       | layers.{i-1}.1.{j} | in_proj (3C rows: q, k, v) |
| huggingface | patch_embeddings.{i-1}.proj     | block.{i-1}.{j}  | key, value               |
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from afa.models.backbones.pretrained import find_backbone, fit_weights


class MiTArch(NamedTuple):
    """Sizes in which the members of the family differ."""

    embed_dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


_WIDE = (64, 128, 320, 512)
ARCHS = {
    "b0": MiTArch((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": MiTArch(_WIDE, (2, 2, 2, 2)),
    "b2": MiTArch(_WIDE, (3, 4, 6, 3)),
    "b3": MiTArch(_WIDE, (3, 4, 18, 3)),
    "b4": MiTArch(_WIDE, (3, 8, 27, 3)),
    "b5": MiTArch(_WIDE, (3, 6, 40, 3)),
}

_ANCHORS = {
    "segformer": re.compile(r"^(|.*\.)patch_embed[1-4]\.proj\.weight$"),
    "mmseg": re.compile(r"^(|.*\.)layers\.[0-3]\.0\.projection\.weight$"),
    "huggingface": re.compile(r"^(|.*\.)patch_embeddings\.[0-3]\.proj\.weight$"),
}
_HEADS = (
    *("head", "classifier", "decode_head", "auxiliary_head", "decoder", "attn_proj"),
    *("cls_head", "affinity_head"),  # our own
)
_MMSEG_BLOCK = {
    "attn.attn.out_proj": "attn.proj",
    "attn.sr": "attn.sr",
    "attn.norm": "attn.norm",
    "norm1": "norm1",
    "norm2": "norm2",
    "ffn.layers.0": "mlp.fc1",
    "ffn.layers.1": "mlp.dwconv.dwconv",
    "ffn.layers.4": "mlp.fc2",
}
_HUGGINGFACE_BLOCK = {
    "layer_norm_1": "norm1",
    "layer_norm_2": "norm2",
    "attention.self.query": "attn.q",
    "attention.self.sr": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
    "mlp.dense2": "mlp.fc2",
}


def convert_mit_state_dict(state_dict: object) -> dict[str, Tensor]:
    """Bring the weights of a Mix Transformer to the official names.

    Args:
        state_dict: Named tensors in any known layout and below any prefix, possibly wrapped.

    Returns:
        The weights of the backbone under the names of `MiTAttn`. Parts that are not the backbone
        are dropped, and logged; names of the backbone that are unknown stay as they are.

    Raises:
        ValueError: If no Mix Transformer is found, or more than one.
    """
    layout, backbone = find_backbone(
        state_dict,
        _ANCHORS,
        "Mix Transformer",
        "patch_embed1.proj.weight (SegFormer), layers.0.0.projection.weight (mmseg) or "
        "patch_embeddings.0.proj.weight (Hugging Face)",
        _HEADS,
    )
    if layout == "mmseg":
        return _from_mmseg(backbone)
    return _from_huggingface(backbone) if layout == "huggingface" else backbone


def guess_arch(state_dict: Mapping[str, Tensor]) -> str | None:
    """Tell from channels and numbers of blocks which member of the family weights belong to.

    Args:
        state_dict: Weights under the official names.

    Returns:
        'b0' to 'b5', or None when they are of no known size.
    """
    embeds = [state_dict.get(f"patch_embed{i}.proj.weight") for i in range(1, 5)]
    dims = tuple(w.shape[0] if w is not None else 0 for w in embeds)
    blocks = {m[0] for k in state_dict if (m := re.match(r"block[1-4]\.\d+\.", k))}
    depths = tuple(sum(b.startswith(f"block{i}.") for b in blocks) for i in range(1, 5))
    return next((name for name, arch in ARCHS.items() if arch == (dims, depths)), None)


def fit_mit_weights(
    state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor], arch: str
) -> dict[str, Tensor]:
    """Check weights against the backbone that takes them.

    Args:
        state_dict: Weights under the official names.
        expected: State dict of the backbone; only names and shapes count.
        arch: Name of the backbone's size, for the messages.

    Returns:
        The weights under exactly the names of `expected`.

    Raises:
        ValueError: If a weight is missing, has another shape, or belongs to a deeper network.
    """
    found = guess_arch(state_dict)
    looks = f"MiT-{found.upper()}: set arch='{found}'" if found else "no known size"
    return fit_weights(
        state_dict,
        expected,
        f"MiT-{arch.upper()}",
        is_larger=found not in (arch, None),
        hint=f"They look like {looks}.",
    )


def _from_mmseg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename mmseg's MixVisionTransformer, which packs q, k and v in one matrix."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        if match := re.fullmatch(r"layers\.(\d)\.1\.(\d+)\.(.+)", key):
            block = f"block{int(match[1]) + 1}.{match[2]}"
            if match[3] in ("attn.attn.in_proj_weight", "attn.attn.in_proj_bias"):
                kind = kind.removeprefix("in_proj_")
                C = value.shape[0] // 3
                out[f"{block}.attn.q.{kind}"], out[f"{block}.attn.kv.{kind}"] = value.split(
                    [C, value.shape[0] - C]
                )
                continue
            part = _MMSEG_BLOCK.get(match[3].rpartition(".")[0])
            if part in ("mlp.fc1", "mlp.fc2") and value.ndim == 4:
                value = value.flatten(1)  # 1x1 convolution -> linear layer
            out[f"{block}.{part}.{kind}" if part else key] = value
        elif match := re.fullmatch(r"layers\.(\d)\.(0\.projection|0\.norm|2)", name):
            i = int(match[1]) + 1
            new = {"0.projection": f"patch_embed{i}.proj", "0.norm": f"patch_embed{i}.norm"}
            out[f"{new.get(match[2], f'norm{i}')}.{kind}"] = value
        else:
            out[key] = value
    return out


def _from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename Hugging Face's SegformerEncoder, which keeps keys and values apart."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        if match := re.fullmatch(r"block\.(\d)\.(\d+)\.(.+)", name):
            block = f"block{int(match[1]) + 1}.{match[2]}"
            part = _HUGGINGFACE_BLOCK.get(match[3])
            partner = state.get(f"block.{match[1]}.{match[2]}.attention.self.value.{kind}")
            if match[3] == "attention.self.key" and partner is not None:
                out[f"{block}.attn.kv.{kind}"] = torch.cat([value, partner])
            elif match[3] != "attention.self.value":
                out[f"{block}.{part}.{kind}" if part else key] = value
        elif match := re.fullmatch(r"patch_embeddings\.(\d)\.(proj|layer_norm)", name):
            part = {"proj": "proj", "layer_norm": "norm"}[match[2]]
            out[f"patch_embed{int(match[1]) + 1}.{part}.{kind}"] = value
        elif match := re.fullmatch(r"layer_norm\.(\d)", name):
            out[f"norm{int(match[1]) + 1}.{kind}"] = value
        else:
            out[key] = value
    return out

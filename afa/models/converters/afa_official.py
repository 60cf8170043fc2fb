"""Turn checkpoints of the AFA authors' program into ours, so that published weights can be tested.

AFA: Ru et al., CVPR 2022, arXiv:2203.02664. The encoder has the official names already, and the two
1x1 convolutions only move. The decoder is SegFormer's original head: linear layers with bias, no
batch norm behind them, and a fusion that takes the stages from the last to the first. mmseg's
SegformerHead has batch norm there and the other order. With `act_cfg=None` the two compute the same
in evaluation mode: with running mean 0, running variance 1 and weight sqrt(1 + eps) the batch norm
only adds its bias, W·x + b = BN(W·x).

The statistics of these batch norms are made up: the result is for testing. Training can start from
it, but its first iterations replace them.
"""

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afa.models.backbones.mit_attn import MiTAttn
from afa.models.backbones.mit_weights import convert_mit_state_dict, fit_mit_weights, guess_arch
from afa.models.backbones.pretrained import NamedWeights, read_converted, unwrap_state_dict
from afa.utils.checkpoint import save_state

# Default of torch.nn.BatchNorm2d, which mmseg's configs leave as it is.
BN_EPS = 1e-5
_FUSE_NAMES = {"linear_fuse.0.": "linear_fuse.conv.", "linear_fuse.1.": "linear_fuse.bn."}
_BN_WEIGHTS = ("weight", "bias", "running_mean", "running_var")


def convert_afa_official(state_dict: object) -> dict[str, Tensor]:
    """Rename and reshape the weights of the authors' program.

    Args:
        state_dict: Named tensors `encoder.*`, `decoder.*`, `attn_proj.*`, `classifier.weight`, with
            or without `module.`, possibly inside a checkpoint under 'state_dict' or 'model'.

    Returns:
        State dict of the segmentor `AFA` whose decode_head is mmseg's SegformerHead with
        `act_cfg=None`.

    Raises:
        ValueError: If a weight is missing or has a shape that does not go with the others.
    """
    tensors = {k.removeprefix("module."): v for k, v in unwrap_state_dict(state_dict).items()}
    weights = NamedWeights(tensors, "AFA", "the AFA authors' program")
    encoder = _convert_encoder(weights)
    dims = [encoder[f"norm{i}.weight"].shape[0] for i in range(1, 5)]

    out = {f"backbone.{k}": v for k, v in encoder.items()}
    out |= {f"decode_head.{k}": v for k, v in _convert_decoder(weights, dims).items()}
    out["affinity_head.proj.weight"] = weights.take("attn_proj.weight", (1, -1, 1, 1))
    out["affinity_head.proj.bias"] = weights.take("attn_proj.bias", (1,))
    out["cls_head.classifier.weight"] = weights.take("classifier.weight", (-1, dims[-1], 1, 1))
    weights.finish()
    return out


def convert_file(source: str | os.PathLike, target: str | os.PathLike) -> int:
    """Convert a checkpoint file.

    Args:
        source: Checkpoint of the authors' program.
        target: File to write; it appears whole or not at all.

    Returns:
        The number of weights written.

    Raises:
        FileNotFoundError: If `source` does not exist.
        ValueError: If `source` cannot be read or does not fit.
    """
    weights = read_converted(source, convert_afa_official)
    backbone = {k.removeprefix("backbone."): v for k, v in weights.items()}
    meta = {
        "converted_from": Path(source).name,
        "arch": guess_arch(backbone),
        "num_classes": weights["decode_head.conv_seg.weight"].shape[0],
    }
    save_state({"state_dict": weights, "meta": meta}, target)
    return len(weights)


def _convert_encoder(weights: NamedWeights) -> dict[str, Tensor]:
    """Take the encoder and check it against the Mix Transformer that it looks like."""
    encoder = weights.take_below("encoder.")
    if not encoder:
        raise ValueError(
            "The weights hold no name that begins with encoder.: a checkpoint of the AFA authors' "
            "program is needed."
        )
    encoder = convert_mit_state_dict(encoder)
    arch = guess_arch(encoder) or "b1"  # the paper's; the check below names what differs
    with torch.device("meta"):
        expected = MiTAttn(arch).state_dict()
    return fit_mit_weights(encoder, expected, arch)


def _convert_decoder(weights: NamedWeights, dims: list[int]) -> dict[str, Tensor]:
    """Take SegFormer's original head, and give the weights of mmseg's SegformerHead."""
    for name in list(weights.tensors):
        for old, new in _FUSE_NAMES.items():
            if name.startswith(f"decoder.{old}"):
                weights.tensors[name.replace(old, new, 1)] = weights.tensors.pop(name)
    pred = weights.take("decoder.linear_pred.weight", (-1, -1, 1, 1))
    # What cannot be known without this weight must not be blamed on the others.
    C, E = (-1, -1) if weights.problems else pred.shape[:2]
    out: dict[str, Any] = {
        "conv_seg.weight": pred,
        "conv_seg.bias": weights.take("decoder.linear_pred.bias", (C,)),
    }
    for i, dim in enumerate(dims):
        linear = weights.take(f"decoder.linear_c{i + 1}.proj.weight", (E, dim))
        bias = weights.take(f"decoder.linear_c{i + 1}.proj.bias", (E,))
        out[f"convs.{i}.conv.weight"] = linear[:, :, None, None]
        out |= {f"convs.{i}.bn.{k}": v for k, v in _bias_as_batch_norm(bias).items()}
    fuse = weights.take("decoder.linear_fuse.conv.weight", (E, len(dims) * E, 1, 1))
    # Input channels in blocks c4, c3, c2, c1 -> c1, c2, c3, c4
    out["fusion_conv.conv.weight"] = torch.cat(fuse.chunk(len(dims), dim=1)[::-1], dim=1)
    for kind in _BN_WEIGHTS:
        out[f"fusion_conv.bn.{kind}"] = weights.take(f"decoder.linear_fuse.bn.{kind}", (E,))
    count = weights.tensors.pop("decoder.linear_fuse.bn.num_batches_tracked", torch.tensor(0))
    out["fusion_conv.bn.num_batches_tracked"] = count
    return out


def _bias_as_batch_norm(bias: Tensor) -> dict[str, Tensor]:
    """Write a bias as a batch norm that in evaluation mode adds it and does nothing else."""
    return {
        "weight": torch.full_like(bias, math.sqrt(1.0 + BN_EPS)),
        "bias": bias,
        "running_mean": torch.zeros_like(bias),
        "running_var": torch.ones_like(bias),
        "num_batches_tracked": torch.tensor(0),
    }

"""Turn checkpoints of the AffinityNet authors' program into ours.

AffinityNet, also called PSA: Ahn & Kwak, CVPR 2018, arXiv:1803.10464. Two networks on the wide
ResNet-38, whose layers have the same names in `ResNet38`:

| network     | theirs                 | ours                                        |
|-------------|------------------------|---------------------------------------------|
| both        | conv1a, b2, ..., bn7   | `backbone.` conv1a, b2, ..., bn7            |
| classifier  | fc8                    | `CAMClassifier`: cls_head.classifier        |
| AffinityNet | f8_3, f8_4, f8_5, f9   | `AffinityNet`: affinity_head.projs.0-2, .fuse |

The published classifier pools by average, and AffinityNet takes the levels with 512, 1024 and 4096
channels (`ResNet38`'s own), both without bias.
"""

import os
from pathlib import Path

import torch
from torch import Tensor

from afa.models.backbones.pretrained import (
    NamedWeights,
    first_names,
    fit_weights,
    read_converted,
    unwrap_state_dict,
)
from afa.models.backbones.resnet38 import ResNet38, convert_resnet38_state_dict
from afa.utils.checkpoint import save_state

_PROGRAM = "the AffinityNet authors' program"
_MARKS = {"CAMClassifier": "fc8.weight", "AffinityNet": "f9.weight"}
_HEADS = ("fc8", "f8_3", "f8_4", "f8_5", "f9")
_WIDTH = 64  # of the published network
_TOP = 64  # channels of the last level, times the width
_LEVELS = (("f8_3", 8), ("f8_4", 16), ("f8_5", _TOP))  # levels of AffinityNet, times the width


def convert_psa_official(state_dict: object) -> tuple[str, dict[str, Tensor]]:
    """Rename the weights of the authors' program.

    Args:
        state_dict: Named tensors with or without `module.`, possibly inside a checkpoint under
            'state_dict' or 'model'.

    Returns:
        Type of our model, 'CAMClassifier' or 'AffinityNet', and its state dict.

    Raises:
        ValueError: If it is neither network, or a weight is missing or has a shape that does not
            go with the others.
    """
    tensors = {k.removeprefix("module."): v for k, v in unwrap_state_dict(state_dict).items()}
    found = [model for model, mark in _MARKS.items() if mark in tensors]
    if len(found) != 1:
        raise ValueError(
            f"A checkpoint of {_PROGRAM} has either fc8.weight (the classifier) or f9.weight "
            f"(AffinityNet), but this one has {'both' if found else 'neither'}; its first names "
            f"are {first_names(tensors)}."
        )
    model = found[0]
    first = tensors.get("conv1a.weight")
    width = first.shape[0] if first is not None and first.ndim == 4 else _WIDTH
    head = {k: v for k, v in tensors.items() if k.split(".")[0] in _HEADS}
    out = _convert_backbone({k: v for k, v in tensors.items() if k not in head}, width)
    weights = NamedWeights(head, model, _PROGRAM)
    out |= _convert_head(weights, model, width)
    weights.finish()
    return model, out


def convert_file(source: str | os.PathLike, target: str | os.PathLike) -> tuple[str, int]:
    """Convert a checkpoint file; return the type of our model and the number of weights written.

    Raises:
        FileNotFoundError: If `source` does not exist.
        ValueError: If `source` cannot be read or does not fit.
    """
    model, weights = read_converted(source, convert_psa_official)
    meta: dict[str, str | int] = {"converted_from": Path(source).name, "model": model}
    if model == "CAMClassifier":
        meta["num_classes"] = weights["cls_head.classifier.weight"].shape[0] + 1
    save_state({"state_dict": weights, "meta": meta}, target)
    return model, len(weights)


def _convert_head(weights: NamedWeights, model: str, width: int) -> dict[str, Tensor]:
    """Take the classifier, or the 1x1 convolutions of the levels and of their concatenation."""
    if model == "CAMClassifier":
        fc8 = weights.take("fc8.weight", (-1, _TOP * width, 1, 1))
        return {"cls_head.classifier.weight": fc8}
    out = {}
    for i, (name, channels) in enumerate(_LEVELS):
        weight = weights.take(f"{name}.weight", (-1, channels * width, 1, 1))
        out[f"affinity_head.projs.{i}.weight"] = weight
    # What cannot be known without these weights must not be blamed on the last.
    total = -1 if weights.problems else sum(w.shape[0] for w in out.values())
    out["affinity_head.fuse.weight"] = weights.take("f9.weight", (total, total, 1, 1))
    return out


def _convert_backbone(tensors: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Check the backbone against the network that it looks like."""
    converted = convert_resnet38_state_dict(tensors)
    with torch.device("meta"):
        expected = ResNet38(base_channels=width).state_dict()
    # Counts of batches, which files of an old torch do not have, cannot stay without numbers.
    expected = {
        k: torch.zeros_like(v, device="cpu") if not v.ndim else v for k, v in expected.items()
    }
    return {f"backbone.{k}": v for k, v in fit_weights(converted, expected, "ResNet38").items()}

"""Weights of the wide ResNet-38 in the layouts that are in circulation.

n is the level (2 to 7), k the block in it (the first is `a` or has no number), and the branches are
branch1 (the shortcut), branch2a, branch2b1 and branch2b2.

| layout | found in                      | batch norm               | convolution             |
|--------|-------------------------------|--------------------------|-------------------------|
| mxnet  | ImageNet weights of Wu et al. | bn{n}b{k}_{branch}_gamma | res{n}a_{branch}_weight |
| psa    | checkpoints of AffinityNet    | b{n}_{k}.bn_{branch}     | b{n}.conv_{branch}      |

The names of `ResNet38` are those of 'psa', so that they also stand in our own checkpoints, below
`backbone.`.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from afa.models.backbones.mxnet_params import is_mxnet_params, read_mxnet_params
from afa.models.backbones.pretrained import find_backbone, take_backbone, unwrap_state_dict
from afa.utils.checkpoint import load_state

_ANCHORS = {
    "mxnet": re.compile(r"^(arg:|)conv1a_weight$"),
    "psa": re.compile(r"^(|.*\.)conv1a\.weight$"),
}
_MXNET_BLOCK = re.compile(r"(res|bn)(\d)(?:a|b(\d+))_(branch\w+?)_(\w+)")
_MXNET_KINDS = {
    "weight": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}


def read_resnet38_file(path: str) -> object:
    """Read a `.params` file of MXNet or a checkpoint of torch.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    if str(path).endswith(".params") or is_mxnet_params(path):
        return read_mxnet_params(path)
    return load_state(path)


def convert_resnet38_state_dict(state_dict: object) -> dict[str, Tensor]:
    """Bring the weights of a wide ResNet-38 to the names of `ResNet38`.

    Args:
        state_dict: Named tensors in any known layout, those of torch below any prefix, possibly
            wrapped.

    Returns:
        The weights under the names of `ResNet38`. Names that are unknown stay as they are.

    Raises:
        ValueError: If no ResNet38 is found, or more than one.
    """
    tensors = unwrap_state_dict(state_dict)
    layout, prefix = find_backbone(
        tensors, _ANCHORS, "ResNet38", "conv1a_weight (MXNet) or conv1a.weight (AffinityNet)"
    )
    return _from_mxnet(tensors) if layout == "mxnet" else take_backbone(tensors, prefix)


def _from_mxnet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the arrays of Wu et al.'s program."""
    out = {}
    for key, value in tensors.items():
        array = key.removeprefix("arg:").removeprefix("aux:")
        head, _, kind = array.partition("_")
        name = None
        if match := _MXNET_BLOCK.fullmatch(array):
            layer, level, k, branch, kind = match.groups()
            block = f"b{level}_{k}" if k else f"b{level}"
            name = f"{block}.{'conv' if layer == 'res' else 'bn'}_{branch}"
        elif head in ("conv1a", "bn7"):
            name = head
        known = name is not None and kind in _MXNET_KINDS
        out[f"{name}.{_MXNET_KINDS[kind]}" if known else key] = value
    return out

"""Weights of VGG16 in the layouts that are in circulation.

| layout      | convolutions                     | fc6, fc7                                       |
|-------------|----------------------------------|------------------------------------------------|
| torchvision | features.0, .2, .5, ..., .28     | classifier.0 (4096, 7 * 7 * 512), classifier.3 |
| caffe       | conv1_1, conv1_2, ..., conv5_3   | fc6 (1024, 512, 3, 3), fc7 (1024, 1024, 1, 1)  |

The names of `VGG16LargeFOV` are those of 'caffe'. The large-field-of-view network has smaller fully
connected layers than VGG16. Its authors (Chen et al., ICLR 2015) took every so many-th of the rows
and of the places of the filters; so does `convert_vgg16_state_dict`: of each axis evenly spaced
entries, without scaling.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from afa.models.backbones.pretrained import find_backbone, take_backbone, unwrap_state_dict

NUM_CONVS = (2, 2, 3, 3, 3)
_ANCHORS = {
    "torchvision": re.compile(r"^(|.*\.)features\.0\.weight$"),
    "caffe": re.compile(r"^(|.*\.)conv1_1\.weight$"),
}
_POOL_SIZE = 7  # side of the grid that VGG16's first fully connected layer sees


def conv_names() -> list[str]:
    """Name the 13 convolutions, from conv1_1 to conv5_3."""
    return [f"conv{i}_{j}" for i, n in enumerate(NUM_CONVS, 1) for j in range(1, n + 1)]


def convert_vgg16_state_dict(
    state_dict: object, fc6_shape: Sequence[int], fc7_shape: Sequence[int]
) -> dict[str, Tensor]:
    """Bring the weights of a VGG16 to the names and sizes of `VGG16LargeFOV`.

    Args:
        state_dict: Named tensors in any known layout and below any prefix, possibly wrapped.
        fc6_shape: Shape of the weight of fc6, (C', C, 3, 3).
        fc7_shape: Shape of the weight of fc7, (C', C', 1, 1).

    Returns:
        The weights; fc6 and fc7 only where the file has them. Names that are unknown stay.

    Raises:
        ValueError: If no VGG16 is found, or more than one, or one with batch norm.
    """
    tensors = unwrap_state_dict(state_dict)
    layout, prefix = find_backbone(
        tensors, _ANCHORS, "VGG16", "features.0.weight (torchvision) or conv1_1.weight (Caffe)"
    )
    backbone = take_backbone(tensors, prefix)
    if layout == "caffe":
        return backbone
    if "features.1.running_mean" in backbone:
        raise ValueError("The weights are of a VGG with batch norm: those of vgg16 are needed.")
    return _from_torchvision(backbone, {"fc6": tuple(fc6_shape), "fc7": tuple(fc7_shape)})


def _from_torchvision(
    state: Mapping[str, Tensor], fc_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Rename torchvision's VGG16 and make its fully connected layers small."""
    layers, index = {"classifier.0": "fc6", "classifier.3": "fc7"}, 0
    names = iter(conv_names())
    for num_convs in NUM_CONVS:
        for _ in range(num_convs):
            layers[f"features.{index}"] = next(names)
            index += 2  # a ReLU behind each convolution
        index += 1  # the pooling
    out = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        name = layers.get(layer, layer)
        if name in fc_shapes:
            shape = fc_shapes[name]
            side = _POOL_SIZE if name == "fc6" else 1
            fits = kind == "weight" and value.ndim == 2 and value.shape[1] % side**2 == 0
            value = value.reshape(value.shape[0], -1, side, side) if fits else value
            value = _decimate(value, shape if kind == "weight" else shape[:1])
        out[f"{name}.{kind}" if layer else key] = value
    return out


def _decimate(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """Take evenly spaced entries of every axis: 7 places to 3 are the first, middle and last."""
    if weight.ndim != len(shape) or any(n < m for n, m in zip(weight.shape, shape, strict=True)):
        return weight  # does not fit; whoever takes it over says so
    for axis, (n, m) in enumerate(zip(weight.shape, shape, strict=True)):
        steps = torch.arange(m)
        # Channels: every (n / m)-th. Places: from the first to the last.
        index = steps * n // m if axis < 2 else steps * (n - 1) // max(m - 1, 1)
        weight = weight.index_select(axis, index)
    return weight

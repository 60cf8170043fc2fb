"""VGG16 with a large field of view, output stride 8.

Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs",
ICLR 2015 (arXiv:1412.7062), DeepLab-LargeFOV: the last two poolings keep the grid, conv5 has
dilation 2, and VGG16's first fully connected layer is a 3x3 convolution of dilation 12. Also the
second backbone of AffinityNet (Ahn & Kwak, CVPR 2018). B images, H W pixels.

Two programs name the weights, and we take Caffe's names:

| layout      | convolutions                     | fc6, fc7                                       |
|-------------|----------------------------------|------------------------------------------------|
| torchvision | features.0, .2, .5, ..., .28     | classifier.0 (4096, 7 * 7 * 512), classifier.3 |
| caffe       | conv1_1, conv1_2, ..., conv5_3   | fc6 (1024, 512, 3, 3), fc7 (1024, 1024, 1, 1)  |

The large-field-of-view network has smaller fully connected layers than VGG16. Its authors took
every so many-th of the rows and of the places of the filters; so does `convert_vgg16_state_dict`:
of each axis evenly spaced entries, without scaling.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from afa.models.backbones.pretrained import SixLevelBackbone, find_backbone, fit_weights

NUM_LEVELS = 6
# The 13 convolutions, level by level: conv1_1 to conv5_3.
CONVS = tuple(
    tuple(f"conv{i}_{j + 1}" for j in range(num_convs))
    for i, num_convs in enumerate((2, 2, 3, 3, 3), 1)
)
_STRIDES = (2, 2, 2, 1, 1)  # of the poolings
_DILATIONS = (1, 1, 1, 1, 2)
_FC6_DILATION = 12
_ANCHORS = {
    "torchvision": re.compile(r"^(|.*\.)features\.0\.weight$"),
    "caffe": re.compile(r"^(|.*\.)conv1_1\.weight$"),
}
_POOL_SIZE = 7  # side of the grid that VGG16's first fully connected layer sees
_FC_NAMES = ("fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias")


@MODELS.register_module()
class VGG16LargeFOV(SixLevelBackbone):
    """VGG16 as DeepLab-LargeFOV uses it.

    ::

        | level    | 0     | 1     | 2     | 3     | 4     | 5    |
        |----------|-------|-------|-------|-------|-------|------|
        | map of   | pool1 | pool2 | pool3 | pool4 | pool5 | fc7  |
        | channels | 64    | 128   | 256   | 512   | 512   | 1024 |
        | stride   | 2     | 4     | 8     | 8     | 8     | 8    |

    The dropout behind fc7 is the heads' matter (`dropout_ratio` of `CAMHead` and `LargeFOVHead`).

    Args:
        out_indices: Levels to give, ascending. By default three at stride 8, as AffinityNet takes
            them: 256, 512 and 1024 channels.
        dropout_ratio: Share of channels dropped behind fc6, in [0, 1).
        frozen_stages: The first so many levels do not learn; -1 or 0 for none.
        base_channels: 64; smaller for a network of the same build for tests.
        init_cfg: None for random weights, or dict(type='Pretrained', checkpoint=PATH) for
            torchvision's vgg16, a checkpoint with Caffe's names, or one of ours.

    Attributes:
        level_channels: Channels of all six levels.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> [tuple(f.shape) for f in VGG16LargeFOV(base_channels=4)(torch.rand(1, 3, 64, 48))]
        [(1, 16, 8, 6), (1, 32, 8, 6), (1, 64, 8, 6)]
    """

    widths = (1, 2, 4, 8, 8, 16)
    example = (2, 4, 5)

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 4, 5),
        dropout_ratio: float = 0.5,
        frozen_stages: int = -1,
        base_channels: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, base_channels, init_cfg)
        if not 0 <= dropout_ratio < 1:
            raise ValueError(
                "VGG16LargeFOV: dropout_ratio must be a share in [0, 1), but got "
                f"{dropout_ratio!r}."
            )
        in_channels = 3
        for i, names in enumerate(CONVS):
            channels, dilation = self.level_channels[i], _DILATIONS[i]
            for name in names:
                conv = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
                self.add_module(name, conv)
                in_channels = channels
        channels, dilation = self.level_channels[5], _FC6_DILATION
        self.fc6 = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.train()

    def frozen(self) -> list[nn.Module]:
        """List the first stages, which do not learn."""
        names = [name for level in CONVS[: max(self.frozen_stages, 0)] for name in level]
        if self.frozen_stages == NUM_LEVELS:
            names += ["fc6", "fc7", "dropout"]
        return [self.get_submodule(name) for name in names]

    def fit(self, state: object) -> dict[str, Tensor]:
        """Turn what a file holds into a state dict of this network.

        A file without fully connected layers leaves fc6 and fc7 drawn, and the log says so.
        """
        self.draw_weights()
        expected = self.state_dict()
        shapes = expected["fc6.weight"].shape, expected["fc7.weight"].shape
        weights = convert_vgg16_state_dict(state, *shapes)
        return fit_weights(weights, expected, "VGG16LargeFOV", optional=_FC_NAMES)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the levels of `out_indices`.

        Args:
            x: Normalised images (B, 3, H, W) of any size.

        Returns:
            One map (B, level_channels[i], ceil(H / stride), ceil(W / stride)) for each.
        """
        feats = {}
        for i, names in enumerate(CONVS):
            for name in names:
                x = F.relu(self.get_submodule(name)(x))
            x = F.max_pool2d(x, 3, stride=_STRIDES[i], padding=1)
            if i in self.out_indices:
                feats[i] = x
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
        x = self.dropout(F.relu(self.fc6(x)))
        feats[NUM_LEVELS - 1] = F.relu(self.fc7(x))
        return tuple(feats[i] for i in self.out_indices)


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
    layout, backbone = find_backbone(
        state_dict, _ANCHORS, "VGG16", "features.0.weight (torchvision) or conv1_1.weight (Caffe)"
    )
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
    for names in CONVS:
        for name in names:
            layers[f"features.{index}"] = name
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

"""Wide ResNet-38, output stride 8: the backbone of AffinityNet and SC-CAM.

Wu, Shen, van den Hengel: "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition",
Pattern Recognition 2019 (arXiv:1611.10080), model A1; used by Ahn & Kwak, CVPR 2018
(arXiv:1803.10464). As there for segmentation, the two strides behind stride 8 are replaced by
dilations 2 and 4. B images, C channels, H W pixels, h w grid.

Two programs name the weights, and we take the names of the second, also in our own checkpoints,
below `backbone.`. n is the level (2 to 7), k the block in it (the first is `a` or has no number),
and the branches are branch1 (the shortcut), branch2a, branch2b1 and branch2b2:

| layout | found in                      | batch norm               | convolution             |
|--------|-------------------------------|--------------------------|-------------------------|
| mxnet  | ImageNet weights of Wu et al. | bn{n}b{k}_{branch}_gamma | res{n}a_{branch}_weight |
| psa    | checkpoints of AffinityNet    | b{n}_{k}.bn_{branch}     | b{n}.conv_{branch}      |
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from afa.models.backbones.mxnet_params import is_mxnet_params, read_mxnet_params
from afa.models.backbones.pretrained import SixLevelBackbone, find_backbone, fit_weights
from afa.utils.checkpoint import load_state

NUM_LEVELS = 6
_NUM_BLOCKS = (3, 3, 6, 3, 1, 1)
_STRIDES = (2, 2, 2, 1, 1, 1)
_DILATIONS = (1, 1, 1, 2, 4, 4)

_ANCHORS = {
    "mxnet": re.compile(r"^()arg:conv1a_weight$"),
    "mxnet without arg:": re.compile(r"^()conv1a_weight$"),
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


def conv(in_channels: int, out_channels: int, size: int, stride: int, dilation: int) -> nn.Conv2d:
    """Make a convolution without bias that keeps the grid, apart from its stride."""
    padding = dilation * (size // 2)
    return nn.Conv2d(
        in_channels, out_channels, size, stride, padding, dilation=dilation, bias=False
    )


class PreActBlock(nn.Module):
    """What both blocks share: batch norm and ReLU before each convolution, and the shortcut.

    A subclass makes its layers and computes `residual`, what the block adds to its shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the block.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        same = in_channels == out_channels and stride == 1
        self.conv_branch1 = None if same else conv(in_channels, out_channels, 1, stride, 1)

    def activate(self, x: Tensor) -> Tensor:
        """Give relu(bn(x)), which the block starts from and which is the level's feature map."""
        return F.relu(self.bn_branch2a(x))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: Input (B, C, h, w).
            activated: `activate(x)`.

        Returns:
            Output before batch norm and ReLU, (B, C', ceil(h / stride), ceil(w / stride)).
        """
        # A shortcut that changes the shape starts from the activated input, another from the input.
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        return shortcut + self.residual(activated)


class BasicBlock(PreActBlock):
    """Two 3x3 convolutions.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels between the convolutions.
        out_channels: Channels of the output.
        stride: Stride of the first convolution.
        dilations: Dilations of the two.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.conv_branch2a = conv(in_channels, mid_channels, 3, stride, dilations[0])
        self.bn_branch2b1 = nn.BatchNorm2d(mid_channels)
        self.conv_branch2b1 = conv(mid_channels, out_channels, 3, 1, dilations[1])

    def residual(self, activated: Tensor) -> Tensor:
        """Compute what the block adds to its shortcut."""
        x = self.conv_branch2a(activated)
        return self.conv_branch2b1(F.relu(self.bn_branch2b1(x)))


class BottleneckBlock(PreActBlock):
    """1x1, 3x3 and 1x1 convolution with a quarter, half and all of the channels.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dilation: Dilation of the 3x3 convolution.
        dropout_ratio: Share of channels that are dropped before each of the last two convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dilation: int, dropout_ratio: float
    ) -> None:
        super().__init__(in_channels, out_channels, 1)
        quarter, half = out_channels // 4, out_channels // 2
        self.conv_branch2a = conv(in_channels, quarter, 1, 1, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.conv_branch2b1 = conv(quarter, half, 3, 1, dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.conv_branch2b2 = conv(half, out_channels, 1, 1, 1)
        self.dropout = nn.Dropout2d(dropout_ratio)

    def residual(self, activated: Tensor) -> Tensor:
        """Compute what the block adds to its shortcut."""
        x = self.conv_branch2a(activated)
        x = self.conv_branch2b1(self.dropout(F.relu(self.bn_branch2b1(x))))
        return self.conv_branch2b2(self.dropout(F.relu(self.bn_branch2b2(x))))


@MODELS.register_module()
class ResNet38(SixLevelBackbone):
    """Wide ResNet with 38 layers, whose maps are relu(batch norm(level)).

    ::

        | level    | 0   | 1   | 2   | 3    | 4    | 5    |
        |----------|-----|-----|-----|------|------|------|
        | blocks   | b2  | b3  | b4  | b5   | b6   | b7   |
        | channels | 128 | 256 | 512 | 1024 | 2048 | 4096 |
        | stride   | 2   | 4   | 8   | 8    | 8    | 8    |
        | dilation | 1   | 1   | 1   | 2    | 4    | 4    |

    A level is normalised by the batch norm that the next one begins with, the last one by bn7.

    Args:
        out_indices: Levels to give, ascending. By default those of AffinityNet: 512, 1024 and 4096
            channels.
        frozen_bn: Keep statistics and affine weights of all batch norms as loaded, in training
            too, as AffinityNet does; False for training from scratch.
        frozen_stages: -1: everything learns; 0: conv1a does not; n: nor do the first n levels.
        dropout_ratios: Share of channels that b6 and b7 drop, in [0, 1).
        base_channels: 64; smaller for a network of the same build for tests.
        init_cfg: None for random weights, or dict(type='Pretrained', checkpoint=PATH) for the
            MXNet file of Wu et al., a checkpoint of AffinityNet's authors, or one of ours.

    Attributes:
        level_channels: Channels of all six levels.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> [tuple(f.shape) for f in ResNet38(base_channels=4)(torch.rand(1, 3, 64, 48))]
        [(1, 32, 8, 6), (1, 64, 8, 6), (1, 256, 8, 6)]
    """

    widths = (2, 4, 8, 16, 32, 64)
    example = (2, 3, 5)

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 3, 5),
        frozen_bn: bool = True,
        frozen_stages: int = -1,
        dropout_ratios: tuple[float, float] = (0.3, 0.5),
        base_channels: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, base_channels, init_cfg)
        if len(dropout_ratios) != 2 or not all(0 <= ratio < 1 for ratio in dropout_ratios):
            raise ValueError(
                "ResNet38: dropout_ratios must be two shares in [0, 1), but got "
                f"{dropout_ratios!r}."
            )
        self.frozen_bn = frozen_bn
        self.conv1a = conv(3, base_channels, 3, 1, 1)
        self.levels: list[list[str]] = []
        for i in range(NUM_LEVELS):
            names = [f"b{i + 2}"] + [f"b{i + 2}_{k}" for k in range(1, _NUM_BLOCKS[i])]
            for j, name in enumerate(names):
                self.add_module(name, self._make_block(i, j == 0, dropout_ratios))
            self.levels.append(names)
        self.bn7 = nn.BatchNorm2d(self.level_channels[-1])
        self.train()

    def _make_block(self, level: int, is_first: bool, dropout_ratios: Sequence[float]) -> nn.Module:
        """Make one block; the first of a level carries its stride."""
        channels = self.level_channels[level]
        below = self.level_channels[level - 1] if level else self.conv1a.out_channels
        in_channels = below if is_first else channels
        dilation = _DILATIONS[level]
        if level > 3:
            return BottleneckBlock(in_channels, channels, dilation, dropout_ratios[level - 4])
        # b5 has half of its channels between the convolutions; where its stride would have been,
        # the first convolution still has the dilation of the level before.
        mid_channels = channels // 2 if level == 3 else channels
        first = _DILATIONS[level - 1] if is_first and level else dilation
        stride = _STRIDES[level] if is_first else 1
        return BasicBlock(in_channels, mid_channels, channels, stride, (first, dilation))

    def frozen(self) -> list[nn.Module]:
        """List what does not learn: the first stages, and the batch norms."""
        frozen: list[nn.Module] = []
        if self.frozen_stages >= 0:
            names = [name for level in self.levels[: self.frozen_stages] for name in level]
            frozen += [self.conv1a] + [self.get_submodule(name) for name in names]
        if self.frozen_bn:
            frozen += [m for m in self.modules() if isinstance(m, _BatchNorm)]
        return frozen

    def draw_weights(self) -> None:
        """Draw the weights as He et al. do; frozen batch norms then do not normalise."""
        super().draw_weights()
        if self.frozen_bn:
            print_log(
                "ResNet38 begins with drawn weights, and its frozen batch norms do not normalise: "
                "unless a checkpoint follows, give init_cfg or set frozen_bn=False.",
                logger="current",
                level=logging.WARNING,
            )

    def read_file(self, path: str | os.PathLike) -> object:
        """Read a `.params` file of MXNet or a checkpoint of torch, without running code of it."""
        is_mxnet = str(path).endswith(".params") or is_mxnet_params(path)
        return read_mxnet_params(path) if is_mxnet else load_state(path)

    def fit(self, state: object) -> dict[str, Tensor]:
        """Turn what a file holds into a state dict of this network."""
        return fit_weights(convert_resnet38_state_dict(state), self.state_dict(), "ResNet38")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the levels of `out_indices`.

        Args:
            x: Normalised images (B, 3, H, W) of any size.

        Returns:
            One map (B, level_channels[i], ceil(H / stride), ceil(W / stride)) for each.
        """
        feats = {}
        x = self.conv1a(x)
        for i, names in enumerate(self.levels):
            for j, name in enumerate(names):
                block = self.get_submodule(name)
                activated = block.activate(x)
                if j == 0 and i - 1 in self.out_indices:
                    feats[i - 1] = activated
                x = block(x, activated)
        feats[NUM_LEVELS - 1] = F.relu(self.bn7(x))
        return tuple(feats[i] for i in self.out_indices)


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
    layout, backbone = find_backbone(
        state_dict, _ANCHORS, "ResNet38", "conv1a_weight (MXNet) or conv1a.weight (AffinityNet)"
    )
    return backbone if layout == "psa" else _from_mxnet(backbone)


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

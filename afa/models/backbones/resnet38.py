"""Wide ResNet-38, output stride 8: the backbone of AffinityNet and SC-CAM.

Wu, Shen, van den Hengel: "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition",
Pattern Recognition 2019 (arXiv:1611.10080), model A1; used by Ahn & Kwak, CVPR 2018
(arXiv:1803.10464). As there for segmentation, the two strides behind stride 8 are replaced by
dilations 2 and 4. B images, H W pixels.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule, kaiming_init
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from afa.models.backbones.pretrained import check_init_cfg, fit_weights, load_pretrained
from afa.models.backbones.resnet38_layers import BasicBlock, BottleneckBlock, conv
from afa.models.backbones.resnet38_weights import convert_resnet38_state_dict, read_resnet38_file

NUM_LEVELS = 6
_NUM_BLOCKS = (3, 3, 6, 3, 1, 1)
_WIDTHS = (2, 4, 8, 16, 32, 64)  # times base_channels
_STRIDES = (2, 2, 2, 1, 1, 1)
_DILATIONS = (1, 1, 1, 2, 4, 4)


@MODELS.register_module()
class ResNet38(BaseModule):
    """Wide ResNet with 38 layers, whose maps are relu(batch norm(level)).

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

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 3, 5),
        frozen_bn: bool = True,
        frozen_stages: int = -1,
        dropout_ratios: tuple[float, float] = (0.3, 0.5),
        base_channels: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_init_cfg(init_cfg)
        _check_arguments(out_indices, frozen_stages, dropout_ratios, base_channels)
        self.out_indices = tuple(out_indices)
        self.frozen_bn = frozen_bn
        self.frozen_stages = frozen_stages
        self.level_channels = tuple(base_channels * width for width in _WIDTHS)

        self.conv1a = conv(3, base_channels, 3, 1, 1)
        self.levels: list[list[str]] = []
        for i in range(NUM_LEVELS):
            names = [f"b{i + 2}"] + [f"b{i + 2}_{k}" for k in range(1, _NUM_BLOCKS[i])]
            for j, name in enumerate(names):
                self.add_module(name, self._make_block(i, j == 0, dropout_ratios))
            self.levels.append(names)
        self.bn7 = nn.BatchNorm2d(self.level_channels[-1])
        self._freeze()

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

    def _frozen_modules(self) -> list[nn.Module]:
        """List what does not learn: the first stages, and the batch norms."""
        frozen: list[nn.Module] = []
        if self.frozen_stages >= 0:
            names = [name for level in self.levels[: self.frozen_stages] for name in level]
            frozen += [self.conv1a] + [self.get_submodule(name) for name in names]
        if self.frozen_bn:
            frozen += [m for m in self.modules() if isinstance(m, _BatchNorm)]
        return frozen

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Any:
        """Switch to training or evaluation; what is frozen stays in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def init_weights(self) -> None:
        """Load the weights that `init_cfg` names, or draw them as He et al. do.

        Raises:
            FileNotFoundError: If the checkpoint does not exist.
            ValueError: If the checkpoint cannot be read, or its weights do not fit this network.
        """
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    kaiming_init(module)
            if self.frozen_bn:
                print_log(
                    "ResNet38 begins with drawn weights, and its frozen batch norms do not "
                    "normalise: unless a checkpoint follows, give init_cfg or set frozen_bn=False.",
                    logger="current",
                    level=logging.WARNING,
                )
        else:
            load_pretrained(self, self.init_cfg["checkpoint"], _fit, read_resnet38_file)
        self._is_init = True

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


def _fit(state: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return fit_weights(convert_resnet38_state_dict(state), expected, "ResNet38")


def _check_arguments(
    out_indices: Sequence[int],
    frozen_stages: int,
    dropout_ratios: Sequence[float],
    base_channels: int,
) -> None:
    """Raise ValueError for arguments that no network can be built from."""
    levels = list(out_indices)
    if not levels or levels != sorted(set(levels)) or not 0 <= levels[0] <= levels[-1] <= 5:
        raise ValueError(
            f"ResNet38: out_indices must be levels 0 to 5, ascending, e.g. (2, 3, 5), but got "
            f"{out_indices!r}."
        )
    if not -1 <= frozen_stages <= NUM_LEVELS:
        raise ValueError(f"ResNet38: frozen_stages must be -1 to 6, but got {frozen_stages!r}.")
    if len(dropout_ratios) != 2 or not all(0 <= ratio < 1 for ratio in dropout_ratios):
        raise ValueError(
            f"ResNet38: dropout_ratios must be two shares in [0, 1), but got {dropout_ratios!r}."
        )
    if base_channels < 1:
        raise ValueError(f"ResNet38: base_channels must be at least 1, but got {base_channels!r}.")

"""Residual blocks of the wide ResNet-38: batch norm and ReLU come before each convolution.

Wu, Shen, van den Hengel: "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition",
Pattern Recognition 2019 (arXiv:1611.10080), model A1. The names of the layers are those of their
weights. B images, C channels, h w grid.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, size: int, stride: int, dilation: int) -> nn.Conv2d:
    """Make a convolution without bias that keeps the grid, apart from its stride."""
    padding = dilation * (size // 2)
    return nn.Conv2d(
        in_channels, out_channels, size, stride, padding, dilation=dilation, bias=False
    )


class PreActBlock(nn.Module):
    """What both blocks share: the norm in front, and the shortcut.

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

    def residual(self, activated: Tensor) -> Tensor:
        """Compute what the block adds to its shortcut."""
        raise NotImplementedError

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

"""VGG16 with a large field of view, output stride 8.

Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs",
ICLR 2015 (arXiv:1412.7062), DeepLab-LargeFOV: the last two poolings keep the grid, conv5 has
dilation 2, and VGG16's first fully connected layer is a 3x3 convolution of dilation 12. Also the
second backbone of AffinityNet (Ahn & Kwak, CVPR 2018). B images, H W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule, kaiming_init
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from afa.models.backbones.pretrained import check_init_cfg, fit_weights, load_pretrained
from afa.models.backbones.vgg16_weights import NUM_CONVS, convert_vgg16_state_dict

NUM_LEVELS = 6
_WIDTHS = (1, 2, 4, 8, 8, 16)  # times base_channels
_STRIDES = (2, 2, 2, 1, 1)  # of the poolings
_DILATIONS = (1, 1, 1, 1, 2)
_FC6_DILATION = 12
_FC_NAMES = ("fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias")


@MODELS.register_module()
class VGG16LargeFOV(BaseModule):
    """VGG16 as DeepLab-LargeFOV uses it.

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

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 4, 5),
        dropout_ratio: float = 0.5,
        frozen_stages: int = -1,
        base_channels: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_init_cfg(init_cfg)
        _check_arguments(out_indices, dropout_ratio, frozen_stages, base_channels)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.level_channels = tuple(base_channels * width for width in _WIDTHS)

        in_channels = 3
        self.levels: list[list[str]] = []
        for i, num_convs in enumerate(NUM_CONVS):
            names = [f"conv{i + 1}_{j + 1}" for j in range(num_convs)]
            channels, dilation = self.level_channels[i], _DILATIONS[i]
            for name in names:
                conv = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
                self.add_module(name, conv)
                in_channels = channels
            self.levels.append(names)
        channels, dilation = self.level_channels[5], _FC6_DILATION
        self.fc6 = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self._freeze()

    def _freeze(self) -> None:
        names = [name for level in self.levels[: max(self.frozen_stages, 0)] for name in level]
        if self.frozen_stages == NUM_LEVELS:
            names += ["fc6", "fc7", "dropout"]
        for name in names:
            self.get_submodule(name).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Any:
        """Switch to training or evaluation; what is frozen stays in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def init_weights(self) -> None:
        """Load the weights that `init_cfg` names, or draw them as He et al. do.

        A file without fully connected layers leaves fc6 and fc7 drawn, and the log says so.

        Raises:
            FileNotFoundError: If the checkpoint does not exist.
            ValueError: If the checkpoint cannot be read, or its weights do not fit this network.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_init(module)
        if self.init_cfg is not None:
            load_pretrained(self, self.init_cfg["checkpoint"], _fit)
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the levels of `out_indices`.

        Args:
            x: Normalised images (B, 3, H, W) of any size.

        Returns:
            One map (B, level_channels[i], ceil(H / stride), ceil(W / stride)) for each.
        """
        feats = {}
        for i, names in enumerate(self.levels):
            for name in names:
                x = F.relu(self.get_submodule(name)(x))
            x = F.max_pool2d(x, 3, stride=_STRIDES[i], padding=1)
            if i in self.out_indices:
                feats[i] = x
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
        x = self.dropout(F.relu(self.fc6(x)))
        feats[NUM_LEVELS - 1] = F.relu(self.fc7(x))
        return tuple(feats[i] for i in self.out_indices)


def _fit(state: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shapes = expected["fc6.weight"].shape, expected["fc7.weight"].shape
    weights = convert_vgg16_state_dict(state, *shapes)
    return fit_weights(weights, expected, "VGG16LargeFOV", optional=_FC_NAMES)


def _check_arguments(
    out_indices: Sequence[int], dropout_ratio: float, frozen_stages: int, base_channels: int
) -> None:
    """Raise ValueError for arguments that no network can be built from."""
    levels = list(out_indices)
    if not levels or levels != sorted(set(levels)) or not 0 <= levels[0] <= levels[-1] <= 5:
        raise ValueError(
            f"VGG16LargeFOV: out_indices must be levels 0 to 5, ascending, e.g. (2, 4, 5), but got "
            f"{out_indices!r}."
        )
    if not 0 <= dropout_ratio < 1:
        raise ValueError(
            f"VGG16LargeFOV: dropout_ratio must be a share in [0, 1), but got {dropout_ratio!r}."
        )
    if not -1 <= frozen_stages <= NUM_LEVELS:
        raise ValueError(
            f"VGG16LargeFOV: frozen_stages must be -1 to 6, but got {frozen_stages!r}."
        )
    if base_channels < 1:
        raise ValueError(
            f"VGG16LargeFOV: base_channels must be at least 1, but got {base_channels!r}."
        )

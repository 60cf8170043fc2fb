"""DeepLab-v2's segmentation head.

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution,
and Fully Connected CRFs", TPAMI 2018 (arXiv:1606.00915), with ResNet-101: one 3x3 convolution for
each rate, from the features straight to the classes, and the sum of their logits (ASPP-L). mmseg's
ASPPHead is that of DeepLab-v3, which concatenates. B images, C classes, h w grid.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.decode_heads.loss_cfg import loss_or_default


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid whose branches are summed.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes C, with background.
        dilations: Rate of each branch.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped in front of the branches; the paper has none.
        loss_decode: Config of the loss or losses, by default cross-entropy over labelled pixels.
        ignore_index: Label of pixels without one.
        align_corners: As in `F.interpolate`, for mmseg's resizing of the logits.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If `dilations` is not a list of positive numbers.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        in_index: int = -1,
        dropout_ratio: float = 0.0,
        loss_decode: dict | list | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if not dilations or min(dilations) < 1:
            raise ValueError(
                "DeepLabV2Head: dilations must be rates of at least 1, e.g. (6, 12, 18, 24), but "
                f"got {dilations!r}."
            )
        super().__init__(
            in_channels,
            channels=in_channels,
            num_classes=num_classes,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            loss_decode=loss_or_default(loss_decode),
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg or dict(type="Normal", layer="Conv2d", std=0.01),
        )
        # The branches are the classifier: an unused one would stop distributed training.
        del self.conv_seg
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate)
            for rate in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        x = self._transform_inputs(inputs)
        if self.dropout is not None:
            x = self.dropout(x)
        first, *others = self.branches
        logits = first(x)
        for branch in others:
            logits = logits + branch(x)
        return logits

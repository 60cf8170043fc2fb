"""Segmentation head of DeepLab-LargeFOV.

Chen et al., ICLR 2015 (arXiv:1412.7062): dropout and a 1x1 convolution behind fc7, which is in
`VGG16LargeFOV`. B images, C classes, h w grid.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from afa.models.decode_heads.loss_cfg import loss_or_default


@MODELS.register_module()
class LargeFOVHead(BaseDecodeHead):
    """Classify every place of a feature map.

    Args:
        in_channels: Channels of the feature map; 1024 for `VGG16LargeFOV`.
        num_classes: Number of classes C, with background.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped behind fc7.
        loss_decode: Config of the loss or losses, by default cross-entropy over labelled pixels.
        ignore_index: Label of pixels without one.
        align_corners: As in `F.interpolate`, for mmseg's resizing of the logits.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        in_index: int = -1,
        dropout_ratio: float = 0.5,
        loss_decode: dict | list | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
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

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self._transform_inputs(inputs))

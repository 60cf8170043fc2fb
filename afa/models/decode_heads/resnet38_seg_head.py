"""Segmentation head on the wide ResNet-38.

Wu et al., Pattern Recognition 2019 (arXiv:1611.10080), as the segmentation network of AffinityNet
(Ahn & Kwak, CVPR 2018): two 3x3 convolutions of rate 12, to 512 channels and to the classes.
B images, C classes, h w grid.
"""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.decode_heads.loss_cfg import loss_or_default


@MODELS.register_module()
class ResNet38SegHead(BaseDecodeHead):
    """Two dilated convolutions.

    Args:
        in_channels: Channels of the feature map; 4096 for `ResNet38`.
        num_classes: Number of classes C, with background.
        channels: Channels between the convolutions.
        dilation: Rate of both.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped between the convolutions.
        norm_cfg: Norm layer behind the first; None, as here, where batch norm is frozen.
        loss_decode: Config of the loss or losses, by default cross-entropy over labelled pixels.
        align_corners: As in `F.interpolate`, for mmseg's resizing of the logits.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If `dilation` is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 512,
        dilation: int = 12,
        in_index: int = -1,
        dropout_ratio: float = 0.0,
        norm_cfg: dict | None = None,
        loss_decode: dict | list | None = None,
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if dilation < 1:
            raise ValueError(f"ResNet38SegHead: dilation must be at least 1, but got {dilation!r}.")
        super().__init__(
            in_channels,
            channels=channels,
            num_classes=num_classes,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg,
            loss_decode=loss_or_default(loss_decode),
            align_corners=align_corners,
            init_cfg=init_cfg or dict(type="Normal", layer="Conv2d", std=0.01),
        )
        self.conv = ConvModule(
            in_channels, channels, 3, padding=dilation, dilation=dilation, norm_cfg=norm_cfg
        )
        self.conv_seg = nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self.conv(self._transform_inputs(inputs)))

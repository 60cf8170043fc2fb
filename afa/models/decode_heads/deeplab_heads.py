"""Segmentation heads of DeepLab's kind: from one feature map at stride 8 straight to the classes.

B images, C classes, h w grid.
"""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

# mmseg's own default divides by all pixels, those with label 255 too.
_LOSS = dict(type="CrossEntropyLoss", avg_non_ignore=True)
_DRAWN = dict(type="Normal", layer="Conv2d", std=0.01)


@MODELS.register_module()
class LargeFOVHead(BaseDecodeHead):
    """Classify every place of a feature map, behind dropout.

    DeepLab-LargeFOV (Chen et al., ICLR 2015, arXiv:1412.7062); fc7 is in `VGG16LargeFOV`.

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
            loss_decode=loss_decode or _LOSS,
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg or _DRAWN,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self._transform_inputs(inputs))


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid whose branches are summed (ASPP-L).

    DeepLab-v2 with ResNet-101 (Chen et al., TPAMI 2018, arXiv:1606.00915): one 3x3 convolution for
    each rate, from the features straight to the classes. mmseg's ASPPHead is that of DeepLab-v3,
    which concatenates.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes C, with background.
        dilations: Rate of each branch.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped in front of the branches; the paper has none.
        loss_decode, ignore_index, align_corners, init_cfg: See `LargeFOVHead`.

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
            loss_decode=loss_decode or _LOSS,
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg or _DRAWN,
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


@MODELS.register_module()
class ResNet38SegHead(BaseDecodeHead):
    """Two dilated 3x3 convolutions, to 512 channels and to the classes.

    Wu et al., Pattern Recognition 2019 (arXiv:1611.10080), as the segmentation network of
    AffinityNet (Ahn & Kwak, CVPR 2018).

    Args:
        in_channels: Channels of the feature map; 4096 for `ResNet38`.
        num_classes: Number of classes C, with background.
        channels: Channels between the convolutions.
        dilation: Rate of both.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped between the convolutions.
        norm_cfg: Norm layer behind the first; None, as here, where batch norm is frozen.
        loss_decode, align_corners, init_cfg: See `LargeFOVHead`.

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
            loss_decode=loss_decode or _LOSS,
            align_corners=align_corners,
            init_cfg=init_cfg or _DRAWN,
        )
        self.conv = ConvModule(
            in_channels, channels, 3, padding=dilation, dilation=dilation, norm_cfg=norm_cfg
        )
        self.conv_seg = nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self.conv(self._transform_inputs(inputs)))

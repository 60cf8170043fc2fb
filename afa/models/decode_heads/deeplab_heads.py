"""Segmentation heads of DeepLab's kind: from one feature map at stride 8 straight to the classes.

B images, C classes, h w grid.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

# mmseg's own default divides by all pixels, those with label 255 too.
_LOSS = dict(type="CrossEntropyLoss", avg_non_ignore=True)
_DRAWN = dict(type="Normal", layer="Conv2d", std=0.01)


class _DeepLabHead(BaseDecodeHead):
    """mmseg's head with the defaults of the DeepLab family: cross-entropy, weights from N(0, 0.01).

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes C, with background.
        channels: Channels in front of the classifier; None for those of the feature map.
        in_index: Level of the backbone.
        dropout_ratio: Share of channels dropped.
        loss_decode: Config of the loss or losses, by default cross-entropy over labelled pixels.
        init_cfg: mmengine initialisation.
        **kwargs: Further arguments of mmseg's BaseDecodeHead.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int | None = None,
        in_index: int = -1,
        dropout_ratio: float = 0.0,
        loss_decode: dict | list | None = None,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels=channels or in_channels,
            num_classes=num_classes,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            loss_decode=loss_decode or _LOSS,
            init_cfg=init_cfg or _DRAWN,
            **kwargs,
        )


@MODELS.register_module()
class LargeFOVHead(_DeepLabHead):
    """Classify every place of a feature map, behind dropout.

    DeepLab-LargeFOV (Chen et al., ICLR 2015, arXiv:1412.7062); fc7 is in `VGG16LargeFOV`.

    Args:
        in_channels: Channels of the feature map; 1024 for `VGG16LargeFOV`.
        num_classes: Number of classes C, with background.
        dropout_ratio: Share of channels dropped behind fc7.
        **kwargs: `in_index`, `loss_decode`, `align_corners`, ...: those of mmseg's heads.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dropout_ratio: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(in_channels, num_classes, dropout_ratio=dropout_ratio, **kwargs)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self._transform_inputs(inputs))


@MODELS.register_module()
class DeepLabV2Head(_DeepLabHead):
    """Atrous spatial pyramid whose branches are summed (ASPP-L).

    DeepLab-v2 with ResNet-101 (Chen et al., TPAMI 2018, arXiv:1606.00915): one 3x3 convolution for
    each rate, from the features straight to the classes. mmseg's ASPPHead is that of DeepLab-v3,
    which concatenates.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes C, with background.
        dilations: Rate of each branch.
        **kwargs: See `LargeFOVHead`. The paper has no dropout.

    Raises:
        ValueError: If `dilations` is not a list of positive numbers.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        **kwargs: Any,
    ) -> None:
        if not dilations or min(dilations) < 1:
            raise ValueError(
                "DeepLabV2Head: dilations must be rates of at least 1, e.g. (6, 12, 18, 24), but "
                f"got {dilations!r}."
            )
        super().__init__(in_channels, num_classes, **kwargs)
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
class ResNet38SegHead(_DeepLabHead):
    """Two dilated 3x3 convolutions, to 512 channels and to the classes.

    Wu et al., Pattern Recognition 2019 (arXiv:1611.10080), as the segmentation network of
    AffinityNet (Ahn & Kwak, CVPR 2018).

    Args:
        in_channels: Channels of the feature map; 4096 for `ResNet38`.
        num_classes: Number of classes C, with background.
        channels: Channels between the convolutions.
        dilation: Rate of both.
        norm_cfg: Norm layer behind the first; None, as here, where batch norm is frozen.
        **kwargs: See `LargeFOVHead`.

    Raises:
        ValueError: If `dilation` is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 512,
        dilation: int = 12,
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if dilation < 1:
            raise ValueError(f"ResNet38SegHead: dilation must be at least 1, but got {dilation!r}.")
        super().__init__(in_channels, num_classes, channels, norm_cfg=norm_cfg, **kwargs)
        self.conv = ConvModule(
            in_channels, channels, 3, padding=dilation, dilation=dilation, norm_cfg=norm_cfg
        )
        self.conv_seg = nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits (B, C, h, w) for the levels of a backbone."""
        return self.cls_seg(self.conv(self._transform_inputs(inputs)))

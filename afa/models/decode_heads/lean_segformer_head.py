"""SegFormer's MLP head with its last projection in front of the upsampling.

Xie et al., NeurIPS 2021. The head projects four stages, resizes them to the finest, stacks them and
mixes them by a 1x1 convolution. Resizing and a 1x1 convolution are both linear and commute: each
stage is mixed at its own resolution, then resized and added. The numbers are the same up to
rounding, with a third of the operations and without the stack of four maps.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.decode_heads import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LeanSegformerHead(SegformerHead):
    """mmseg's SegformerHead, with its arguments and its weights, computed in another order."""

    def init_weights(self) -> None:
        """Initialise as the AFA program does: torch's own but for the fusion, which is mmcv's."""
        super().init_weights()
        for layer in (*(project.conv for project in self.convs), self.conv_seg):
            layer.reset_parameters()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Give segmentation logits.

        Args:
            inputs: feature maps of the backbone, (B, C_i, h_i, w_i).

        Returns:
            (B, num_classes, h, w) at the size of the first map that is used.
        """
        feats = self._transform_inputs(inputs)
        size, fusion = feats[0].shape[2:], self.fusion_conv
        weights = fusion.conv.weight.chunk(len(feats), dim=1)
        mixed: Tensor | None = None
        for feat, project, weight in zip(feats, self.convs, weights, strict=True):
            part = F.conv2d(project(feat), weight)
            if part.shape[2:] != size:
                corners = None if self.interpolate_mode == "nearest" else self.align_corners
                part = F.interpolate(
                    part, size=size, mode=self.interpolate_mode, align_corners=corners
                )
            mixed = part if mixed is None else mixed + part
        return self.cls_seg(fusion.activate(fusion.norm(mixed)))

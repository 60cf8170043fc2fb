"""Segmentation heads that mmseg does not have."""

from afa.models.decode_heads.deeplab_v2_head import DeepLabV2Head
from afa.models.decode_heads.large_fov_head import LargeFOVHead
from afa.models.decode_heads.lean_segformer_head import LeanSegformerHead
from afa.models.decode_heads.resnet38_seg_head import ResNet38SegHead

__all__ = ["DeepLabV2Head", "LargeFOVHead", "LeanSegformerHead", "ResNet38SegHead"]

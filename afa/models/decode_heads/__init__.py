"""Segmentation heads that mmseg does not have."""

from afa.models.decode_heads.deeplab_heads import DeepLabV2Head, LargeFOVHead, ResNet38SegHead
from afa.models.decode_heads.lean_segformer_head import LeanSegformerHead

"""Pure functions on tensors: the mathematics of the methods."""

from afa.models.utils.affinity import affinity_label, attention_affinity, radius_mask
from afa.models.utils.cam import (
    multi_scale_cams,
    normalize_cams,
    pack_present,
    present_classes,
    resize_images,
    scale_size,
)
from afa.models.utils.pseudo_label import (
    ignore_outside,
    labels_from_masks,
    merge_thresholds,
    pseudo_label,
    refined_label,
    soft_masks,
)
from afa.models.utils.random_walk import random_walk
from afa.models.utils.reduce import global_mean

__all__ = [
    "affinity_label",
    "attention_affinity",
    "global_mean",
    "ignore_outside",
    "labels_from_masks",
    "merge_thresholds",
    "multi_scale_cams",
    "normalize_cams",
    "pack_present",
    "present_classes",
    "pseudo_label",
    "radius_mask",
    "random_walk",
    "refined_label",
    "resize_images",
    "scale_size",
    "soft_masks",
]

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
from afa.models.utils.pair_affinity import (
    pair_affinity,
    pair_distances,
    pair_label,
    pair_offsets,
)
from afa.models.utils.pseudo_label import (
    ignore_outside,
    label_of_two_scores,
    labels_from_masks,
    merge_thresholds,
    power_background,
    pseudo_label,
    refined_label,
    soft_masks,
    two_scores,
)
from afa.models.utils.random_walk import random_walk
from afa.models.utils.reduce import global_mean
from afa.models.utils.soft_maps import KINDS, SoftMaps
from afa.models.utils.strips import cut_padding, resize_strips
from afa.models.utils.transition import transition_weights, windowed_random_walk

__all__ = [
    "KINDS",
    "SoftMaps",
    "affinity_label",
    "attention_affinity",
    "cut_padding",
    "global_mean",
    "ignore_outside",
    "label_of_two_scores",
    "labels_from_masks",
    "merge_thresholds",
    "multi_scale_cams",
    "normalize_cams",
    "pack_present",
    "pair_affinity",
    "pair_distances",
    "pair_label",
    "pair_offsets",
    "power_background",
    "present_classes",
    "pseudo_label",
    "radius_mask",
    "random_walk",
    "refined_label",
    "resize_images",
    "resize_strips",
    "scale_size",
    "soft_masks",
    "transition_weights",
    "two_scores",
    "windowed_random_walk",
]

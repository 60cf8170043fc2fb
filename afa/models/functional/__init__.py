"""Pure functions on tensors: the mathematics of the methods."""

from afa.models.functional.affinity import affinity_label, attention_affinity, radius_mask
from afa.models.functional.cam import (
    multi_scale_cams,
    normalize_cams,
    pack_present,
    present_classes,
    resize_images,
    resize_maps,
    scale_size,
)
from afa.models.functional.pair_affinity import (
    pair_affinity,
    pair_distances,
    pair_label,
    pair_offsets,
)
from afa.models.functional.pseudo_label import (
    ignore_outside,
    label_of_two_scores,
    labels_from_masks,
    merge_thresholds,
    power_background,
    refined_label,
    soft_masks,
    stacked_masks,
)
from afa.models.functional.random_walk import RandomWalk, random_walk
from afa.models.functional.reduce import global_mean
from afa.models.functional.soft_maps import KINDS, Refinement, SoftMaps
from afa.models.functional.strips import cut_padding, resize_strips
from afa.models.functional.transition import transition_weights, windowed_random_walk

__all__ = [
    "KINDS",
    "RandomWalk",
    "Refinement",
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
    "radius_mask",
    "random_walk",
    "refined_label",
    "resize_images",
    "resize_maps",
    "resize_strips",
    "scale_size",
    "soft_masks",
    "stacked_masks",
    "transition_weights",
    "windowed_random_walk",
]

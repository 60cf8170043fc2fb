"""Pure functions on tensors: the mathematics of the methods."""

from afa.models.functional.affinity import (
    RandomWalk,
    affinity_label,
    attention_affinity,
    radius_mask,
    random_walk,
)
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
from afa.models.functional.pair_walk import transition_weights, windowed_random_walk
from afa.models.functional.photo_size import cut_padding, label_map, possible_labels, resize_strips
from afa.models.functional.pseudo_label import (
    ignore_outside,
    label_of_masks,
    label_of_two_scores,
    labels_from_masks,
    merge_thresholds,
    power_background,
    soft_masks,
    stacked_masks,
)
from afa.models.functional.reduce import global_mean
from afa.models.functional.soft_maps import ALL_KINDS, KINDS, SEG, Refinement, SoftMaps, check_kind

"""Pack a sample for a weakly-supervised segmentor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.datasets import PackSegInputs
from mmseg.registry import TRANSFORMS

_META_KEYS = (
    "img_path", "seg_map_path", "ori_shape", "img_shape", "pad_shape", "scale_factor", "flip",
    "flip_direction", "reduce_zero_label", "img_id", "img_box", "num_labels",
)  # fmt: skip


@TRANSFORMS.register_module()
class PackWSSSInputs(PackSegInputs):
    """Pack image, masks and meta data as mmseg does, and the image-level labels.

    Adds to the data sample ``gt_label``, a float32 tensor (K,) with 1 for each class of the image
    (absent when the data set has no image labels), likewise ``gt_sub_label`` (K * num_sub,) with 1
    for each sub-category (absent when it has no sub_labels), and to its meta data ``img_id``,
    ``num_labels``, the number of classes of the image, and ``img_box`` (y0, y1, x0, x1): the part
    of the input that is image and not padding, the whole input when no transform has set it.

    Args:
        meta_keys: Names of the results that become meta data.
    """

    def __init__(self, meta_keys: Sequence[str] = _META_KEYS) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        """Return a dict with ``inputs`` (3, H, W) and ``data_samples``."""
        if "img" in results and "img_box" not in results:
            height, width = results["img"].shape[:2]
            results["img_box"] = (0, height, 0, width)
        if "gt_label" in results:
            results["num_labels"] = int((np.asarray(results["gt_label"]) > 0).sum())
        packed = super().transform(results)
        for key in ("gt_label", "gt_sub_label"):
            if key in results:
                label = torch.as_tensor(results[key], dtype=torch.float32).clone()
                packed["data_samples"].set_data({key: label})
        return packed

"""Load the mask of an image that has one."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from afa.files.label_png import read_label_png


@TRANSFORMS.register_module()
class LoadOptionalMask(BaseTransform):
    """Load ``gt_seg_map`` (H, W) uint8 from ``seg_map_path`` where the image has one.

    For sets of which some images have masks, or none: mmseg's LoadAnnotations needs one for each.
    Unlike it, this refuses colours and masks of another size than the photo. It goes behind
    :class:`LoadPhoto`, and behind the resize of a test pipeline, so that the truth keeps the size
    of the photo. ``label_map`` is followed, ``reduce_zero_label`` is not.
    """

    def transform(self, results: dict) -> dict:
        """Load the mask.

        Args:
            results: What the pipeline has gathered.

        Returns:
            The results, with ``gt_seg_map`` if there is ``seg_map_path``.

        Raises:
            ValueError: If the mask cannot be read, is of colours, or of another size.
        """
        path = results.get("seg_map_path")
        if path is None:
            return results
        mask = read_label_png(path)
        if mask.shape != tuple(results["ori_shape"]):
            (mask_h, mask_w), (height, width) = mask.shape, results["ori_shape"]
            raise ValueError(
                f"The mask '{path}' is {mask_w} x {mask_h} pixels, its photo {width} x {height}: "
                "they must be of one size, the photo upright as its EXIF data say."
            )
        if results.get("label_map"):
            table: np.ndarray = np.arange(256, dtype=np.uint8)
            for old, new in results["label_map"].items():
                table[old] = new
            mask = table[mask]
        results["gt_seg_map"] = mask
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

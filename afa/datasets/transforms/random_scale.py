"""Resize an image by a random factor of its own size."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS

from afa.datasets.transforms.mask_size import check_mask_sizes


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Resize image and mask by one random factor, aspect kept.

    mmseg's RandomResize draws the factor for a fixed target scale; weakly-supervised recipes
    scale each image relative to its own size. Sides are cut down to whole pixels, at least one.

    Args:
        ratio_range: Smallest and largest factor.
        backend: As in mmcv: ``'cv2'``, or ``'pillow'``, which averages all pixels that it makes
            smaller, as the AFA program does, and takes longer.
    """

    def __init__(self, ratio_range: tuple[float, float], backend: str = "cv2") -> None:
        low, high = ratio_range if len(ratio_range) == 2 else (0, 0)
        if not 0 < low <= high:
            raise ValueError(f"ratio_range must be 0 < low <= high, got {tuple(ratio_range)}.")
        if backend not in ("cv2", "pillow"):
            raise ValueError(f"backend must be 'cv2' or 'pillow', got {backend!r}.")
        self.ratio_range = (float(low), float(high))
        self.backend = backend

    @cache_randomness
    def _random_ratio(self) -> float:
        return float(np.random.uniform(*self.ratio_range))

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and the maps in ``seg_fields``.

        Args:
            results: What the pipeline has gathered.

        Returns:
            The results with resized arrays, ``img_shape``, ``scale`` and ``scale_factor``.

        Raises:
            ValueError: If a mask has another size than its photo.
        """
        check_mask_sizes(results)
        ratio = self._random_ratio()
        height, width = results["img"].shape[:2]
        size = tuple(max(1, int(side * ratio)) for side in (width, height))
        return Resize(scale=size, keep_ratio=False, backend=self.backend)(results)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ratio_range={self.ratio_range}, backend='{self.backend}')"

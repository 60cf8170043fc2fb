"""Resize an image by a random factor of its own size."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Resize image and mask by one random factor, aspect kept.

    mmseg's RandomResize draws the factor for a fixed target scale; weakly-supervised recipes
    scale each image relative to its own size.

    Args:
        ratio_range: Smallest and largest factor.
    """

    def __init__(self, ratio_range: tuple[float, float]) -> None:
        low, high = ratio_range
        if not 0 < low <= high:
            raise ValueError(f"ratio_range must be 0 < low <= high, got {tuple(ratio_range)}.")
        self.ratio_range = (float(low), float(high))

    @cache_randomness
    def _random_ratio(self) -> float:
        return float(np.random.uniform(*self.ratio_range))

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and the maps in ``seg_fields``.

        Args:
            results: What the pipeline has gathered.

        Returns:
            The results with resized arrays, ``img_shape``, ``scale`` and ``scale_factor``.
        """
        # keep_ratio=False: the factor is one for both sides, and mmcv rounds each side once.
        return Resize(scale_factor=self._random_ratio(), keep_ratio=False)(results)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ratio_range={self.ratio_range})"

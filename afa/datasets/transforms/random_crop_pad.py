"""Cut a random crop, with padding where the image is smaller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

from afa.datasets.transforms.mask_size import check_mask_sizes


@TRANSFORMS.register_module()
class RandomCropPad(BaseTransform):
    """Cut a crop of fixed size at a random place.

    Where the image is smaller than the crop, along either side, it is put at a random place of the
    crop and the rest is padding. ``results['img_box']`` (y0, y1, x0, x1) says where the image is in
    the crop: labels outside of it are ignored. Flips and resizes go before this transform, because
    they would not move the box.

    Args:
        crop_size: Height and width of the crop in pixels, or one number for both.
        pad_val: Padding per channel, in the order of the image's channels (BGR as mmcv loads
            them); rounded for an 8-bit image. Black, as in the AFA program; those of the
            multi-stage methods pad with the mean, (103.53, 116.28, 123.675).
        seg_pad_val: Padding of masks.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        pad_val: float | Sequence[float] = 0,
        seg_pad_val: int = 255,
    ) -> None:
        sides = tuple(crop_size) if isinstance(crop_size, Sequence) else (crop_size, crop_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(
                f"crop_size must be a positive integer or two (height, width), got {crop_size}."
            )
        self.crop_size: tuple[int, int] = sides
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    @cache_randomness
    def _random_offsets(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Draw the offset of the crop in the image (positive) or of the image in it (negative)."""
        offsets = []
        for side, crop in zip(shape, self.crop_size, strict=True):
            offset = int(np.random.randint(abs(side - crop) + 1))
            offsets.append(offset if side >= crop else -offset)
        return offsets[0], offsets[1]

    def transform(self, results: dict) -> dict:
        """Crop ``img`` and the maps in ``seg_fields``.

        Args:
            results: What the pipeline has gathered; ``img`` is (H, W, 3).

        Returns:
            The results with cropped arrays, ``img_shape``, ``pad_shape`` and ``img_box``.

        Raises:
            ValueError: If a mask has another size than its photo.
        """
        check_mask_sizes(results)
        offsets = self._random_offsets(results["img"].shape[:2])
        results["img"], box = self._cut(results["img"], offsets, self.pad_val)
        for key in results.get("seg_fields", []):
            results[key], _ = self._cut(results[key], offsets, self.seg_pad_val)
        results["img_box"] = box
        results["img_shape"] = results["img"].shape[:2]
        results["pad_shape"] = results["img"].shape[:2]
        return results

    def _cut(
        self, array: np.ndarray, offsets: tuple[int, int], pad_val: float | Sequence[float]
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """Return the crop and the box (y0, y1, x0, x1) of the image in it."""
        fill = np.asarray(pad_val)
        if np.issubdtype(array.dtype, np.integer):
            fill = np.rint(fill)
        crop = np.empty((*self.crop_size, *array.shape[2:]), dtype=array.dtype)
        crop[...] = fill
        source, target = [], []
        for side, size, offset in zip(array.shape, self.crop_size, offsets, strict=False):
            length = min(side, size)
            source.append(slice(max(offset, 0), max(offset, 0) + length))
            target.append(slice(max(-offset, 0), max(-offset, 0) + length))
        crop[tuple(target)] = array[tuple(source)]
        rows, cols = target
        return crop, (rows.start, rows.stop, cols.start, cols.stop)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(crop_size={self.crop_size}, pad_val={self.pad_val}, "
            f"seg_pad_val={self.seg_pad_val})"
        )

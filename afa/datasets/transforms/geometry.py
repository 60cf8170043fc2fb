"""Resize and crop images together with their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS

from afa.files.photo import fit_ratio


def check_mask_sizes(results: dict) -> None:
    """Refuse masks (``seg_fields``) of another size than their photo (``img``).

    mmcv's resize would stretch such a mask to the size that the photo gets, and a crop would cut it
    elsewhere: either way labels would silently come to lie on other pixels.

    Raises:
        ValueError: If a mask has another size.
    """
    height, width = results["img"].shape[:2]
    for key in results.get("seg_fields", []):
        mask_h, mask_w = results[key].shape[:2]
        if (height, width) != (mask_h, mask_w):
            raise ValueError(
                f"The mask '{results.get('seg_map_path')}' is {mask_w} x {mask_h} pixels where its "
                f"photo is {width} x {height}: they must be of one size, and loaded before any "
                "resize."
            )


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
        """Resize ``img`` and the maps in ``seg_fields``; set ``img_shape`` and ``scale_factor``.

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


@TRANSFORMS.register_module()
class ResizeToFit(BaseTransform):
    """Resize image and mask to the largest size that fits, aspect kept.

    As mmcv's ``Resize(keep_ratio=True)``, but sides are cut down to whole pixels, as in the AFA
    program, and not rounded; and no side becomes less than one pixel: mmcv fails on a photo whose
    sides differ by more than twice the scale.

    Args:
        scale: Width and height of the box in pixels, in mmcv's order.
    """

    def __init__(self, scale: tuple[int, int]) -> None:
        if len(scale) != 2 or not all(isinstance(side, int) and side > 0 for side in scale):
            raise ValueError(
                f"scale must be two positive integers (width, height), got {tuple(scale)}."
            )
        self.scale: tuple[int, int] = (scale[0], scale[1])

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and the maps in ``seg_fields``; set ``img_shape`` and ``scale_factor``.

        Raises:
            ValueError: If a mask has another size than its photo, or LoadPhoto has decoded the
                photo smaller than it is needed here.
        """
        check_mask_sizes(results)
        height, width = results["img"].shape[:2]
        is_reduced = results.get("decoded_shape") == (height, width)
        if is_reduced and fit_ratio((height, width), self.scale) > 1:
            raise ValueError(
                f"LoadPhoto has decoded the photo at {width} x {height} only, for a box smaller "
                f"than {self.scale}: give LoadPhoto fit={self.scale} or none."
            )
        height, width = results["ori_shape"] if is_reduced else (height, width)
        ratio = fit_ratio((height, width), self.scale)
        # The side that decides must reach the box, whatever the rounding of the ratio.
        size = tuple(max(1, int(side * ratio + 1e-6)) for side in (width, height))
        return Resize(scale=size, keep_ratio=False)(results)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scale={self.scale})"


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
        """Crop ``img`` and the maps in ``seg_fields``; set ``img_shape`` and ``img_box``.

        Raises:
            ValueError: If a mask has another size than its photo.
        """
        check_mask_sizes(results)
        offsets = self._random_offsets(results["img"].shape[:2])
        results["img"], box = self._cut(results["img"], offsets, self.pad_val)
        for key in results.get("seg_fields", []):
            results[key], _ = self._cut(results[key], offsets, self.seg_pad_val)
        shape = results["img"].shape[:2]
        results.update(img_box=box, img_shape=shape, pad_shape=shape)
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

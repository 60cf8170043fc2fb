"""Load a photo, and the mask of a photo that has one."""

from __future__ import annotations

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from afa.files.label_png import read_label_png
from afa.files.photo import MAX_PIXELS, decode_reduced, read_photo_bytes


@TRANSFORMS.register_module()
class LoadPhoto(BaseTransform):
    """Load ``img`` (H, W, 3) uint8 BGR from ``img_path``, whatever kind of photo it is.

    Sets ``img``, ``img_shape`` and ``ori_shape``, as mmcv's LoadImageFromFile does.

    Args:
        apply_exif: Turn the photo as its EXIF orientation says, as viewers do. False where masks
            or boxes lie in the grid of the stored pixels, as in COCO.
        max_pixels: Photos with more pixels are refused.
        fit: Width and height of the box of the :class:`ResizeToFit` that follows: large JPEGs are
            then decoded at 1/2, 1/4 or 1/8 of their size, several times as fast.
            ``ori_shape`` is that of the whole photo all the same. None decodes all.
        backend_args: mmengine's file backend; None for files of this machine.
    """

    def __init__(
        self,
        apply_exif: bool = True,
        max_pixels: int = MAX_PIXELS,
        fit: tuple[int, int] | None = None,
        backend_args: dict | None = None,
    ) -> None:
        is_box = isinstance(fit, (tuple, list)) and len(fit) == 2 and all(s > 0 for s in fit)
        if fit is not None and not is_box:
            raise ValueError(f"fit must be width and height of a box in pixels, got {fit}.")
        self.apply_exif = apply_exif
        self.max_pixels = max_pixels
        self.fit = None if fit is None else (fit[0], fit[1])
        self.backend_args = None if backend_args is None else dict(backend_args)

    def transform(self, results: dict) -> dict:
        """Load the photo that ``img_path`` names.

        Raises:
            ValueError: If the photo cannot be read.
        """
        path = results["img_path"]
        if self.backend_args is None:
            data = read_photo_bytes(path)
        else:
            data = fileio.get(path, backend_args=self.backend_args)
        image, size = decode_reduced(data, path, self.fit, self.apply_exif, self.max_pixels)
        results.update(img=image, img_shape=image.shape[:2], ori_shape=size)
        if image.shape[:2] != size:  # for ResizeToFit to see whether it is enough
            results["decoded_shape"] = image.shape[:2]
        return results

    def whole(self) -> LoadPhoto:
        """Give the same step without ``fit``."""
        if self.fit is None:
            return self
        return LoadPhoto(self.apply_exif, self.max_pixels, backend_args=self.backend_args)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(apply_exif={self.apply_exif}, max_pixels={self.max_pixels}, "
            f"fit={self.fit}, backend_args={self.backend_args})"
        )


@TRANSFORMS.register_module()
class LoadOptionalMask(BaseTransform):
    """Load ``gt_seg_map`` (H, W) uint8 from ``seg_map_path`` where the image has one.

    For sets of which some images have masks, or none: mmseg's LoadAnnotations needs one for each.
    Unlike it, this refuses colours and masks of another size than the photo. It goes behind
    :class:`LoadPhoto`, and behind the resize of a test pipeline, so that the truth keeps the size
    of the photo. ``label_map`` is followed, ``reduce_zero_label`` is not.
    """

    def transform(self, results: dict) -> dict:
        """Load ``gt_seg_map`` if there is ``seg_map_path``.

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

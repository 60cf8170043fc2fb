"""Load a photo in a pipeline."""

from __future__ import annotations

import mmengine.fileio as fileio
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from afa.utils.photo import MAX_PIXELS, decode_photo, read_photo


@TRANSFORMS.register_module()
class LoadPhoto(BaseTransform):
    """Load ``img`` (H, W, 3) uint8 BGR from ``img_path``, whatever kind of photo it is.

    Sets ``img``, ``img_shape`` and ``ori_shape``, as mmcv's LoadImageFromFile does.

    Args:
        apply_exif: Turn the photo as its EXIF orientation says, as viewers do. False where masks
            or boxes lie in the grid of the stored pixels, as in COCO.
        max_pixels: Photos with more pixels are refused.
        backend_args: mmengine's file backend; None for files of this machine.
    """

    def __init__(
        self,
        apply_exif: bool = True,
        max_pixels: int = MAX_PIXELS,
        backend_args: dict | None = None,
    ) -> None:
        self.apply_exif = apply_exif
        self.max_pixels = max_pixels
        self.backend_args = None if backend_args is None else dict(backend_args)

    def transform(self, results: dict) -> dict:
        """Load the photo.

        Args:
            results: What the pipeline has gathered; ``img_path`` names the file.

        Returns:
            The results with the photo.

        Raises:
            ValueError: If the photo cannot be read.
        """
        path = results["img_path"]
        if self.backend_args is None:
            image = read_photo(path, self.apply_exif, self.max_pixels)
        else:
            data = fileio.get(path, backend_args=self.backend_args)
            image = decode_photo(data, path, self.apply_exif, self.max_pixels)
        results["img"] = image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(apply_exif={self.apply_exif}, max_pixels={self.max_pixels}, "
            f"backend_args={self.backend_args})"
        )

"""Resize an image to fit into a box, whatever its shape."""

from __future__ import annotations

from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import Resize
from mmseg.registry import TRANSFORMS

from afa.datasets.transforms.mask_size import check_mask_sizes
from afa.files.photo import fit_ratio


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
        """Resize ``img`` and the maps in ``seg_fields``.

        Args:
            results: What the pipeline has gathered.

        Returns:
            The results with resized arrays, ``img_shape``, ``scale`` and ``scale_factor``.

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

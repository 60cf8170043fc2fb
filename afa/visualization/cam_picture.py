"""Show where a class was found: its CAM over the photo. RGB uint8."""

from __future__ import annotations

import cv2
import numpy as np

from afa.visualization.captions import add_legend, fit_photo

_MAX_ALPHA = 0.8
_STEPS = (0.25, 0.5, 0.75, 1.0)


def draw_cam(image: np.ndarray, cam: np.ndarray, title: str) -> np.ndarray:
    """Lay a CAM over its photo: the photo itself at 0, more and more of the colour towards 1.

    Args:
        image: (H, W, 3) RGB uint8.
        cam: (h, w) in 0..1; values outside are clipped.
        title: text beneath, such as the class and its score.

    Returns:
        (H', W', 3) RGB uint8: the picture at its readable size, with title and scale beneath.
    """
    photo = fit_photo(image)
    height, width = photo.shape[:2]
    cam = np.nan_to_num(np.asarray(cam, np.float32)).clip(0, 1)
    cam = cv2.resize(cam, (width, height), interpolation=cv2.INTER_LINEAR)
    weight = _MAX_ALPHA * np.sqrt(cam)[..., None]
    mixed = (1 - weight) * photo.astype(np.float32) + weight * _colors(cam)
    colors = _colors(np.asarray([_STEPS], np.float32))[0]
    scale = [(f"{step:g}", color) for step, color in zip(_STEPS, colors, strict=True)]
    return add_legend(np.rint(mixed).clip(0, 255).astype(np.uint8), [(title, None), *scale])


def _colors(values: np.ndarray) -> np.ndarray:
    """Give the colours (..., 3) RGB of values (h, w) in 0..1."""
    return cv2.applyColorMap(np.rint(255 * values).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]

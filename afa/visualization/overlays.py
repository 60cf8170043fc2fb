"""Lay labels, maps and points over photos. H W pixels; images are RGB uint8."""

from collections.abc import Sequence

import cv2
import numpy as np

IGNORE_INDEX = 255
IGNORE_COLOR = (224, 224, 192)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB, got shape {image.shape} of {image.dtype}: "
            "convert it first"
        )


def overlay_label(
    image: np.ndarray,
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    alpha: float = 0.6,
    ignore_index: int = IGNORE_INDEX,
) -> np.ndarray:
    """Lay the colours of a label map over a photo.

    Args:
        image: (H, W, 3) RGB uint8.
        label: (H, W) classes 0..C-1, or ``ignore_index`` (drawn pale).
        palette: C colours, RGB 0..255.
        alpha: weight of the colours, 0..1.
        ignore_index: label of undecided pixels.

    Returns:
        (H, W, 3) RGB uint8, a new array.

    Raises:
        ValueError: if the sizes differ or the label has a class without a colour.
    """
    _check_image(image)
    if label.shape != image.shape[:2]:
        raise ValueError(
            f"label must be as large as the image {image.shape[:2]}, got {label.shape}: resize it"
        )
    known = label[label != ignore_index]
    if known.size and not 0 <= known.min() <= known.max() < len(palette):
        raise ValueError(
            f"label has class {known.max() if known.max() >= len(palette) else known.min()}, but "
            f"the palette has the colours of 0..{len(palette) - 1}"
        )
    colors = np.asarray(palette, dtype=np.float32)
    painted = colors[np.where(label == ignore_index, 0, label)]
    painted[label == ignore_index] = IGNORE_COLOR
    mixed = (1 - alpha) * image.astype(np.float32) + alpha * painted
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def heatmap(image: np.ndarray, cam: np.ndarray, alpha: float = 0.6) -> np.ndarray:
    """Lay a map over a photo, from blue (0) to red (1).

    Unlike mmengine's ``draw_featmap`` the map is not stretched to its own range, so that pictures
    of different iterations can be compared.

    Args:
        image: (H, W, 3) RGB uint8.
        cam: (h, w) in 0..1, resized to the image bilinearly; values outside are clipped.
        alpha: weight of the colours, 0..1.

    Returns:
        (H, W, 3) RGB uint8.
    """
    _check_image(image)
    height, width = image.shape[:2]
    cam = np.nan_to_num(np.asarray(cam, dtype=np.float32)).clip(0, 1)
    cam = cv2.resize(cam, (width, height), interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap(np.rint(255 * cam).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(image, 1 - alpha, colors[..., ::-1].copy(), alpha, 0)


def mark_points(
    image: np.ndarray, points: Sequence[tuple[int, int]], numbers: Sequence[int] | None = None
) -> np.ndarray:
    """Mark pixels of a photo with numbered rings.

    Args:
        image: (H, W, 3) RGB uint8.
        points: (y, x) of each pixel.
        numbers: their numbers, by default 1, 2, ...; empty for rings alone.

    Returns:
        (H, W, 3) RGB uint8, a new array.
    """
    _check_image(image)
    marked = image.copy()
    radius = max(3, round(min(image.shape[:2]) / 32))
    scale = max(0.35, radius / 10)
    for index, (y, x) in enumerate(points):
        for color, extra in (((0, 0, 0), 2), ((255, 255, 255), 0)):
            cv2.circle(marked, (x, y), radius, color, 1 + extra, cv2.LINE_AA)
        if numbers is not None and len(numbers) == 0:
            continue
        text = str(index + 1 if numbers is None else numbers[index])
        # Left of the ring where there is no room on its right.
        beside = x + radius + 2 if x + 4 * radius < image.shape[1] else x - radius - 10
        place = (beside, min(max(y + radius, 10), image.shape[0] - 2))
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                marked, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA
            )
    return marked

"""Show a label map on its photo so that a person sees what was found and where. RGB uint8."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from afa.visualization.captions import add_legend, fit_label, fit_photo, write_names
from afa.visualization.overlays import IGNORE_COLOR, IGNORE_INDEX, overlay_label
from afa.visualization.queries import inmost_pixel

_MIN_SHARE = 0.004  # a segment below this share of the picture is named in the legend only


def draw_segments(
    image: np.ndarray,
    label: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    alpha: float = 0.5,
    with_names: bool = True,
) -> np.ndarray:
    """Lay the colours of a label map over its photo, with names in the segments and a legend.

    The background stays as the photo is. Small photos are enlarged and large ones reduced, so
    that names can be read (:func:`readable_size`).

    Args:
        image: (H, W, 3) RGB uint8.
        label: (H, W) classes 0 (background) to C-1; 255 undecided.
        classes: C names.
        palette: C colours, RGB 0..255.
        alpha: weight of the colours, 0..1.
        with_names: write names and legend.

    Returns:
        (H', W', 3) RGB uint8: the picture with its legend beneath.
    """
    photo, shown = fit_photo(image), fit_label(label)
    picture = overlay_label(photo, shown, palette, alpha)
    picture[shown == 0] = photo[shown == 0]
    _draw_borders(picture, shown, palette)
    if not with_names:
        return picture
    picture = write_names(picture, _segment_names(shown, classes))
    areas = label_areas(label)
    found = [value for value in range(1, 256) if areas[value]]
    order = sorted(found, key=lambda value: -int(areas[value]))
    entries: list[tuple[str, Sequence[int] | None]] = [
        ("undecided", IGNORE_COLOR) if value == IGNORE_INDEX else (classes[value], palette[value])
        for value in order
    ]
    return add_legend(picture, entries or [(f"{classes[0]} only", None)])


def label_areas(label: np.ndarray) -> np.ndarray:
    """Count the pixels of each label 0..255 in (H, W), a strip at a time: bincount wants int64."""
    rows = max(1, 2**20 // label.shape[1])
    strips = (label[top : top + rows] for top in range(0, label.shape[0], rows))
    return np.sum([np.bincount(strip.ravel(), minlength=256) for strip in strips], axis=0)


def _draw_borders(picture: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    """Rim each segment with its full colour, and with white against its neighbours, in place."""
    borders = np.zeros(label.shape, np.uint8)
    borders[:, 1:] |= label[:, 1:] != label[:, :-1]
    borders[1:] |= label[1:] != label[:-1]
    width = max(1, round(max(label.shape) / 500))  # of the white line
    rim = (cv2.dilate(borders, np.ones((6 * width + 1,) * 2, np.uint8)) > 0) & (label != 0)
    colors: np.ndarray = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    colors[IGNORE_INDEX] = IGNORE_COLOR
    picture[rim] = colors[label[rim]]
    picture[cv2.dilate(borders, np.ones((width, width), np.uint8)) > 0] = 255


def _segment_names(label: np.ndarray, classes: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
    """Give name and inmost pixel of each connected segment, the largest first."""
    found = []
    for value in np.unique(label):
        if value in (0, IGNORE_INDEX):
            continue
        count, parts, stats, _ = cv2.connectedComponentsWithStats((label == value).astype(np.uint8))
        for part in range(1, count):
            left, top, width, height, area = (int(number) for number in stats[part])
            if area < _MIN_SHARE * label.size:
                continue
            window = (slice(top, top + height), slice(left, left + width))
            y, x = inmost_pixel(parts[window] == part)
            found.append((area, classes[value], (top + y, left + x)))
    found.sort(key=lambda item: -item[0])
    return [(name, point) for _, name, point in found]

"""Write names into pictures and beneath them, in any script that the font knows. RGB uint8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

MIN_SIDE, MAX_SIDE = 480, 1600  # longer side of a picture on which names can be read

Box = tuple[float, float, float, float]  # left, top, right, bottom


@lru_cache
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font of all names: OpenCV's own knows only the letters of English."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def font_size(size: Sequence[int]) -> int:
    """Choose the height of letters, in pixels, for a picture of (height, width)."""
    return max(12, round(max(size) / 34))


def readable_size(size: Sequence[int]) -> tuple[int, int]:
    """Choose the size at which a photo is shown.

    Args:
        size: height and width of the photo.

    Returns:
        Height and width: the photo's own, or a whole multiple for photos below ``MIN_SIDE``, or
        reduced to ``MAX_SIDE``.
    """
    height, width = size
    longer = max(height, width)
    if longer > MAX_SIDE:
        return tuple(max(1, round(side * MAX_SIDE / longer)) for side in size)  # type: ignore
    factor = -(-MIN_SIDE // longer)
    return height * factor, width * factor


def fit_photo(image: np.ndarray) -> np.ndarray:
    """Bring a photo (H, W, 3) to its readable size."""
    height, width = readable_size(image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


def fit_label(label: np.ndarray) -> np.ndarray:
    """Bring a label map (H, W) to the readable size of its photo, without new values."""
    size = readable_size(label.shape)
    rows, columns = (
        (np.arange(new) * old + old // 2) // new if new < old else np.arange(new) * old // new
        for new, old in zip(size, label.shape, strict=True)
    )
    return label[rows[:, None], columns]


def write_names(picture: np.ndarray, names: Sequence[tuple[str, tuple[int, int]]]) -> np.ndarray:
    """Write names, white with a dark rim, centred at points and inside the picture.

    Args:
        picture: (H, W, 3).
        names: text and point (y, x), the most important first: a text that would cover an
            earlier one, or that is wider than the picture, is left out.

    Returns:
        (H, W, 3), a new array.
    """
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = text_font(font_size(picture.shape[:2]))
    rim = max(1, font.size // 8)
    taken: list[Box] = []
    for text, (y, x) in names:
        left, top, right, bottom = draw.textbbox((x, y), text, font, "mm", stroke_width=rim)
        if right - left > width or bottom - top > height:
            continue
        dx = max(0, -left) + min(0, width - right)
        dy = max(0, -top) + min(0, height - bottom)
        box = (left + dx, top + dy, right + dx, bottom + dy)
        if any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        draw.text(
            (x + dx, y + dy), text, "white", font, "mm", stroke_width=rim, stroke_fill=(24, 24, 24)
        )
    return np.asarray(canvas).copy()


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def add_legend(
    picture: np.ndarray, entries: Sequence[tuple[str, Sequence[int] | None]]
) -> np.ndarray:
    """Put a legend beneath a picture, in as many lines as it takes.

    Args:
        picture: (H, W, 3).
        entries: text and RGB colour of each entry; None for a text without a colour.

    Returns:
        (H', W', 3): the picture at the top left; wider only where it is narrower than an entry.
    """
    if not entries:
        return picture
    size = font_size(picture.shape[:2])
    font, pad = text_font(size), size // 2
    places: list[tuple[int, int]] = []
    x = y = right = pad
    for text, color in entries:
        room = round(font.getlength(text)) + (0 if color is None else size + pad)
        if x > pad and x + room + pad > picture.shape[1]:
            x, y = pad, y + size + pad
        places.append((x, y))
        right = max(right, x + room + pad)
        x += room + 2 * pad
    height, width = picture.shape[0], max(picture.shape[1], right)
    canvas = Image.new("RGB", (width, height + y + size + pad), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for (text, color), (x, top) in zip(entries, places, strict=True):
        top += height
        if color is not None:
            box = (x, top, x + size - 1, top + size - 1)
            draw.rectangle(box, tuple(int(value) for value in color), (96, 96, 96))
            x += size + pad
        draw.text((x, top + size / 2), text, (32, 32, 32), font, "lm")
    return np.asarray(canvas).copy()

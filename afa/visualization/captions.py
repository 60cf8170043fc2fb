"""Write text into pictures and beneath them, in any script that the font knows. RGB uint8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT_COLOR = (32, 32, 32)
_RIM_COLOR = (24, 24, 24)
_SMALLEST = 10  # pixels: letters that are smaller cannot be read

Entries = Sequence[tuple[str, Sequence[int] | None]]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@lru_cache
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font of all text: OpenCV's own knows only the letters of English."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def font_size(size: Sequence[int]) -> int:
    """Choose the height of letters, in pixels, for a picture of (height, width)."""
    return max(12, round(max(size) / 34))


def write_line(
    draw: ImageDraw.ImageDraw, text: str, place: tuple[int, int], room: int, size: int
) -> None:
    """Write one line, made to fit.

    Args:
        draw: the picture.
        text: the line.
        place: x of its left end and y of its middle.
        room: pixels that it may be wide.
        size: height of the letters, where there is room.
    """
    text, size = fit_text(text, room, size)
    draw.text(place, text, TEXT_COLOR, text_font(size), "lm")


def fit_text(text: str, room: int, size: int) -> tuple[str, int]:
    """Give text and size of letters that fit into a room, cut off if the smallest do not."""
    fitting = int(size * room / max(1, text_font(size).getlength(text)))
    size = min(size, max(_SMALLEST, fitting))
    while len(text) > 1 and text_font(size).getlength(text) > room:
        text = text.removesuffix("…")[:-1] + "…"
    return text, size


def write_rimmed(
    draw: ImageDraw.ImageDraw, text: str, place: tuple[float, float], size: int, anchor: str
) -> None:
    """Write white text with a dark rim, which can be read on any photo.

    Its ``anchor``, as Pillow names it, stands at the ``place`` (x, y); ``size`` is the height of
    the letters.
    """
    font, rim = text_font(size), rim_width(size)
    draw.text(place, text, "white", font, anchor, stroke_width=rim, stroke_fill=_RIM_COLOR)


def rim_width(size: int) -> int:
    """Choose the width of the rim around letters of a height, in pixels."""
    return max(1, size // 8)


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
    size = font_size(picture.shape[:2])
    font, rim = text_font(size), rim_width(size)
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
        write_rimmed(draw, text, (x + dx, y + dy), size, "mm")
    return np.array(canvas)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def add_legend(picture: np.ndarray, entries: Entries, size: int | None = None) -> np.ndarray:
    """Put a legend beneath a picture, in as many lines as it takes.

    Args:
        picture: (H, W, 3).
        entries: text and RGB colour of each entry; None for a text without a colour.
        size: height of letters and swatches in pixels; None for what suits the picture.

    Returns:
        (H', W', 3): the picture at the top left; wider only where it is narrower than an entry.
    """
    if not entries:
        return picture
    size = size or font_size(picture.shape[:2])
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
        draw.text((x, top + size / 2), text, TEXT_COLOR, font, "lm")
    return np.array(canvas)

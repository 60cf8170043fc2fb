"""Set pictures side by side, with titles and a legend. Images are RGB uint8."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from afa.visualization.captions import Entries, add_legend, fit_text, write_line, write_rimmed

_GAP = 6
_LINE = 20
_TEXT_SIZE = 14


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
    legend: Entries = (),
    cell: int = 192,
    captions: Sequence[Sequence[str]] | None = None,
) -> np.ndarray:
    """Set pictures out in rows and columns.

    Args:
        rows: pictures (H, W, 3) of any size, as many in each row as there are titles.
        titles: text above each column; may have several lines.
        row_titles: text above each row.
        legend: name and RGB colour of the classes, shown at the bottom.
        cell: width, and greatest height, of a picture in the grid.
        captions: text in the upper left corner of each picture, empty for none.

    Returns:
        (H', W', 3) RGB uint8.

    Raises:
        ValueError: if there is no row, or the numbers of pictures and titles differ.
    """
    if not rows or any(len(row) != len(titles) for row in rows):
        raise ValueError(
            f"grid needs at least one row and {len(titles)} pictures a row (one for each title), "
            f"got {[len(row) for row in rows]}"
        )
    if row_titles is not None and len(row_titles) != len(rows):
        raise ValueError(f"grid needs {len(rows)} row_titles, got {len(row_titles)}")
    fitted = [[_fit(image, cell) for image in row] for row in rows]
    lefts = [_GAP + column * (cell + _GAP) for column in range(len(titles))]
    width = _GAP + len(titles) * (cell + _GAP)
    title_height = 0 if row_titles is None else _LINE
    heights = [title_height + max(len(image) for image in row) + _GAP for row in fitted]
    top = _GAP + _LINE * max(title.count("\n") + 1 for title in titles)
    canvas = Image.new("RGB", (width, top + sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    for left, title in zip(lefts, titles, strict=True):
        for number, line in enumerate(title.split("\n")):
            place = (left, _GAP + number * _LINE + _LINE // 2)
            write_line(draw, line, place, cell, _TEXT_SIZE)
    for number, row in enumerate(fitted):
        if row_titles is not None:
            place = (_GAP, top + _LINE // 2)
            write_line(draw, row_titles[number], place, width - 2 * _GAP, _TEXT_SIZE)
        for column, (left, image) in enumerate(zip(lefts, row, strict=True)):  # under its title
            canvas.paste(Image.fromarray(image), (left, top + title_height))
            if captions is not None:
                text, size = fit_text(captions[number][column], image.shape[1] - 8, _TEXT_SIZE)
                write_rimmed(draw, text, (left + 4, top + title_height + 3), size, "la")
        top += heights[number]
    return add_legend(np.array(canvas), legend, _TEXT_SIZE)


def _fit(image: np.ndarray, cell: int) -> np.ndarray:
    """Scale a picture so that its longer side is as long as a cell."""
    height, width = image.shape[:2]
    factor = cell / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)

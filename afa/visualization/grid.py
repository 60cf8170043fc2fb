"""Set pictures side by side, with titles and a legend. Images are RGB uint8."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from afa.visualization.overlays import IGNORE_COLOR, IGNORE_INDEX

Legend = Sequence[tuple[str, Sequence[int]]]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_COLOR = (32, 32, 32)
_GAP = 6
_LINE = 20
_SCALE = 0.5
_SWATCH = 14


def legend_entries(
    labels: Iterable[np.ndarray], classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> list[tuple[str, Sequence[int]]]:
    """List name and colour of the classes that occur in some label maps.

    Args:
        labels: label maps with classes 0..C-1 and 255 for undecided.
        classes: C names.
        palette: C colours, RGB.

    Returns:
        Pairs for :func:`grid`, by class, undecided last.
    """
    found = sorted({int(value) for label in labels for value in np.unique(label)})
    return [
        ("undecided", IGNORE_COLOR) if value == IGNORE_INDEX else (classes[value], palette[value])
        for value in found
    ]


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
    legend: Legend = (),
    cell: int = 192,
) -> np.ndarray:
    """Set pictures out in rows and columns.

    Args:
        rows: pictures (H, W, 3) of any size, as many in each row as there are titles.
        titles: text above each column; may have several lines.
        row_titles: text above each row.
        legend: name and RGB colour of the classes, shown at the bottom.
        cell: width, and greatest height, of a picture in the grid.

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
    width = _GAP + len(titles) * (cell + _GAP)
    parts = [_header(titles, cell, width)]
    for index, row in enumerate(rows):
        if row_titles is not None:
            strip = _blank(_LINE, width)
            _write(strip, row_titles[index], (_GAP, 15), width - 2 * _GAP)
            parts.append(strip)
        parts.append(_row(row, cell, width))
    if legend:
        parts.append(_legend(legend, width))
    return np.concatenate(parts)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def _text_width(text: str, scale: float = _SCALE) -> int:
    return cv2.getTextSize(text, _FONT, scale, 1)[0][0]


def _write(canvas: np.ndarray, text: str, place: tuple[int, int], room: int) -> None:
    """Write one line, smaller if it does not fit, and cut off if it is still too long."""
    scale = min(_SCALE, max(0.35, _SCALE * room / max(1, _text_width(text))))
    while len(text) > 3 and _text_width(text, scale) > room:
        text = text.rstrip(".")[:-1] + "..."
    cv2.putText(canvas, text, place, _FONT, scale, _TEXT_COLOR, 1, cv2.LINE_AA)


def _header(titles: Sequence[str], cell: int, width: int) -> np.ndarray:
    lines = max(title.count("\n") + 1 for title in titles)
    canvas = _blank(_GAP + lines * _LINE, width)
    for column, title in enumerate(titles):
        for index, line in enumerate(title.split("\n")):
            place = (_GAP + column * (cell + _GAP), 18 + index * _LINE)
            _write(canvas, line, place, cell)
    return canvas


def _fit(image: np.ndarray, cell: int) -> np.ndarray:
    """Scale a picture so that its longer side is as long as a cell."""
    height, width = image.shape[:2]
    factor = cell / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    shrinks = factor < 1
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _row(images: Sequence[np.ndarray], cell: int, width: int) -> np.ndarray:
    fitted = [_fit(image, cell) for image in images]
    canvas = _blank(max(image.shape[0] for image in fitted) + _GAP, width)
    for column, image in enumerate(fitted):
        height, wide = image.shape[:2]
        left = _GAP + column * (cell + _GAP)  # under its title
        canvas[:height, left : left + wide] = image
    return canvas


def _legend(legend: Legend, width: int) -> np.ndarray:
    """Draw colour and name of each class, in as many lines as it takes."""
    lines: list[list[tuple[int, str, Sequence[int]]]] = [[]]
    x = _GAP
    for name, color in legend:
        needed = _SWATCH + 6 + _text_width(name) + 18
        if lines[-1] and x + needed > width:
            lines.append([])
            x = _GAP
        lines[-1].append((x, name, color))
        x += needed
    canvas = _blank(len(lines) * (_LINE + 4) + _GAP, width)
    for index, line in enumerate(lines):
        top = index * (_LINE + 4) + 4
        for x, name, color in line:
            box = (slice(top, top + _SWATCH), slice(x, x + _SWATCH))
            canvas[box] = (96, 96, 96)
            canvas[top + 1 : top + _SWATCH - 1, x + 1 : x + _SWATCH - 1] = color
            _write(canvas, name, (x + _SWATCH + 6, top + 12), width - x - _SWATCH - 6)
    return canvas

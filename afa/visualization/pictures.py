"""Lay labels, CAMs and points over photos. H W pixels; images are RGB uint8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from afa.visualization.captions import Entries, add_legend, write_names, write_rimmed

IGNORE_INDEX = 255
IGNORE_COLOR = (224, 224, 192)
_MAP_COLORS = cv2.COLORMAP_VIRIDIS  # for those, too, who see red and green alike
MIN_SIDE, MAX_SIDE = 480, 1600  # longer side of a picture on which names can be read
_MIN_SHARE = 0.004  # a segment below this share of the picture is named in the legend only
_MAX_ALPHA = 0.8  # weight of the colour where a CAM is 1
_STEPS = (0.25, 0.5, 0.75, 1.0)  # of the scale beneath a CAM

Palette = Sequence[Sequence[int]]


def overlay_label(
    image: np.ndarray,
    label: np.ndarray,
    palette: Palette,
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
    return _mix(image, painted, alpha)


def overlay_cam(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Lay a map over its photo: the photo itself at 0, more and more of the colour towards 1.

    Unlike mmengine's ``draw_featmap`` the map is not stretched to its own range, so that pictures
    of different iterations can be compared.

    Args:
        image: (H, W, 3) RGB uint8.
        cam: (h, w) in 0..1, resized to the image bilinearly; values outside are clipped.

    Returns:
        (H, W, 3) RGB uint8, a new array.
    """
    _check_image(image)
    cam = _resize_map(cam, image)
    return _mix(image, _colors(cam), _MAX_ALPHA * np.sqrt(cam)[..., None])


def map_layer(values: np.ndarray) -> np.ndarray:
    """Draw a map alone, to be laid over its photo: (h, w) in 0..1 to (h, w, 4) RGBA uint8.

    Transparent at 0, opaque at 1, in colours that those tell apart too who see red and green alike.
    """
    values = np.nan_to_num(np.asarray(values, np.float32)).clip(0, 1)
    alpha = np.rint(255 * np.sqrt(values)).astype(np.uint8)
    return np.dstack([_colors(values), alpha])


def label_layer(label: np.ndarray, palette: Palette) -> np.ndarray:
    """Draw a label map alone, to be laid over its photo.

    Args:
        label: (H, W) classes 0 (background) to C-1; 255 undecided.
        palette: C colours, RGB 0..255.

    Returns:
        (H, W, 4) RGBA uint8: opaque colours, with white lines between segments; transparent where
        the background is.
    """
    colors: np.ndarray = np.zeros((256, 4), np.uint8)
    colors[: len(palette), :3] = palette
    colors[IGNORE_INDEX, :3] = IGNORE_COLOR
    colors[1:, 3] = 255
    layer: np.ndarray = colors[label]
    layer[_border_lines(label)] = 255
    return layer


def draw_cam(image: np.ndarray, cam: np.ndarray, title: str) -> np.ndarray:
    """Lay a CAM over its photo (:func:`overlay_cam`), with title and scale beneath.

    Args:
        image: (H, W, 3) RGB uint8.
        cam: (h, w) in 0..1.
        title: text beneath, such as the class and its score.

    Returns:
        (H', W', 3) RGB uint8: the picture at its readable size, with title and scale beneath.
    """
    mixed = overlay_cam(fit_photo(image), cam)
    colors = _colors(np.asarray([_STEPS], np.float32))[0]
    scale = [(f"{step:g}", color) for step, color in zip(_STEPS, colors, strict=True)]
    return add_legend(mixed, [(title, None), *scale])


def draw_segments(
    image: np.ndarray,
    label: np.ndarray,
    classes: Sequence[str],
    palette: Palette,
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
    picture = write_names(picture, segment_names(shown, classes))
    areas = label_areas(label)
    order = 1 + np.argsort(-areas[1:], kind="stable")
    entries = _entries(order[areas[order] > 0], classes, palette)
    return add_legend(picture, entries or [(f"{classes[0]} only", None)])


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
    height, width = image.shape[:2]
    radius = max(3, round(min(height, width) / 32))
    for y, x in points:
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.circle(marked, (x, y), radius, color, thickness, cv2.LINE_AA)
    canvas = Image.fromarray(marked)
    draw = ImageDraw.Draw(canvas)
    size = max(10, 5 * radius // 2)
    if numbers is None:
        numbers = range(1, len(points) + 1)
    for (y, x), number in zip(points, numbers, strict=False):
        # Left of the ring where there is no room on its right.
        side, anchor = (1, "lm") if x + 4 * radius < width else (-1, "rm")
        middle = min(max(y, size / 2), height - size / 2)
        write_rimmed(draw, str(number), (x + side * (radius + 3), middle), size, anchor)
    return np.array(canvas)


def query_points(
    size: tuple[int, int], num_queries: int, label: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Choose points whose attention is worth a look: the inmost pixel of each class, or a diagonal.

    Foreground classes come first, the largest before the others, then the background; points that
    are still missing lie on the diagonal.

    Args:
        size: height and width of the image.
        num_queries: number of points.
        label: (H, W) true classes, 255 ignored; None if there is no mask.

    Returns:
        (y, x) of ``num_queries`` points.
    """
    height, width = size
    points: list[tuple[int, int]] = []
    if label is not None:
        classes, areas = np.unique(label[label != IGNORE_INDEX], return_counts=True)
        order = sorted(zip(classes, areas, strict=True), key=lambda pair: (pair[0] == 0, -pair[1]))
        points = [inmost_pixel(label == cls) for cls, _ in order[:num_queries]]
    for index in range(len(points), num_queries):
        share = (index + 1) / (num_queries + 1)
        points.append((int(height * share), int(width * share)))
    return points


def inmost_pixel(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel of a mask that is furthest from its edge; the image's edge counts."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(y), int(x)


def label_areas(label: np.ndarray) -> np.ndarray:
    """Count the pixels of each label 0..255 in (H, W), a strip at a time: bincount wants int64."""
    rows = max(1, 2**20 // label.shape[1])
    strips = (label[top : top + rows] for top in range(0, label.shape[0], rows))
    return np.sum([np.bincount(strip.ravel(), minlength=256) for strip in strips], axis=0)


def legend_entries(
    labels: Iterable[np.ndarray], classes: Sequence[str], palette: Palette
) -> Entries:
    """List name and colour of the classes that occur in some label maps.

    Args:
        labels: label maps with classes 0..C-1 and 255 for undecided.
        classes: C names.
        palette: C colours, RGB.

    Returns:
        Pairs for :func:`grid`, by class, undecided last.
    """
    return _entries(
        sorted({int(v) for label in labels for v in np.unique(label)}), classes, palette
    )


def _entries(values: Iterable[int], classes: Sequence[str], palette: Palette) -> Entries:
    return [
        ("undecided", IGNORE_COLOR) if value == IGNORE_INDEX else (classes[value], palette[value])
        for value in values
    ]


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
    height, width = readable_size(label.shape)
    label = label.astype(np.int32)  # OpenCV resizes no int64
    return cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB, got shape {image.shape} of {image.dtype}: "
            "convert it first"
        )


def _mix(image: np.ndarray, colors: np.ndarray, alpha: float | np.ndarray) -> np.ndarray:
    """Mix a photo with colours of the weight ``alpha``."""
    mixed = (1 - alpha) * image.astype(np.float32) + alpha * colors
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _resize_map(cam: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Give a map (h, w) at the size of an image, in 0..1."""
    cam = np.nan_to_num(np.asarray(cam, np.float32)).clip(0, 1)
    return cv2.resize(cam, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _colors(values: np.ndarray) -> np.ndarray:
    """Give the colours (..., 3) RGB of values (h, w) in 0..1."""
    return cv2.applyColorMap(np.rint(255 * values).astype(np.uint8), _MAP_COLORS)[..., ::-1]


def _draw_borders(picture: np.ndarray, label: np.ndarray, palette: Palette) -> None:
    """Rim each segment with its full colour, and with white against its neighbours, in place."""
    borders, width = _borders(label), _line_width(label)
    rim = (cv2.dilate(borders, np.ones((6 * width + 1,) * 2, np.uint8)) > 0) & (label != 0)
    colors: np.ndarray = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    colors[IGNORE_INDEX] = IGNORE_COLOR
    picture[rim] = colors[label[rim]]
    picture[_border_lines(label)] = 255


def _borders(label: np.ndarray) -> np.ndarray:
    """Mark with 1 the pixels (H, W) uint8 whose left or upper neighbour has another label."""
    borders = np.zeros(label.shape, np.uint8)
    borders[:, 1:] |= label[:, 1:] != label[:, :-1]
    borders[1:] |= label[1:] != label[:-1]
    return borders


def _line_width(label: np.ndarray) -> int:
    return max(1, round(max(label.shape) / 500))


def _border_lines(label: np.ndarray) -> np.ndarray:
    """Mark the pixels (H, W) bool of the white lines between segments."""
    return cv2.dilate(_borders(label), np.ones((_line_width(label),) * 2, np.uint8)) > 0


def segment_names(label: np.ndarray, classes: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
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

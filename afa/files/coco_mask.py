"""Label maps of COCO images: drawn from their annotations, written and checked.

The order matters where annotations overlap. Crowd regions (``iscrowd=1``: a group outlined with a
brush) are drawn first. Over them come the single objects from the largest to the smallest, so that
a cup stays visible on its table. Of two with the same number of pixels the first in the file stays
on top. The toolkit that many papers on COCO 2014 point to
(https://github.com/alicranck/coco2voc) draws by size, too, but sorts crowd regions among the
objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from afa.files.label_png import is_whole_label_png, write_label_png
from afa.files.whole_file import safe_join

CROWDS = ("class", "ignore")
IGNORE = 255
_MAX_CHARS = 8  # of one run in a compressed mask: 40 bits


class Region(NamedTuple):
    """One annotation of an image.

    Its segmentation is what COCO has: rings ``[[x, y, x, y, ...], ...]``, or runs
    ``{"counts": [...] or "...", "size": [height, width]}``.
    """

    label: int  # its class, 1..80
    is_crowd: bool  # whether it outlines a group
    segmentation: Any


class Layer(NamedTuple):
    """What is drawn into a label map."""

    value: int  # of its pixels
    is_crowd: bool
    mask: dict  # as pycocotools has it


def draw_label(
    regions: Sequence[Region], height: int, width: int, crowd: str = "class"
) -> np.ndarray:
    """Draw the label map of an image from its annotations in the order of the file.

    Pixels of a crowd region get their class, or 255 where ``crowd`` is ``'ignore'``.

    Returns:
        (height, width) uint8; 0 where no annotation is.

    Raises:
        ValueError: If a segmentation is malformed.
    """
    return _draw(regions, height, width, crowd)[0]


def _draw(regions: Sequence[Region], height: int, width: int, crowd: str) -> tuple[np.ndarray, int]:
    """Draw a label map; also count the annotations that cover no pixel."""
    if crowd not in CROWDS:
        raise ValueError(f"crowd must be 'class' or 'ignore', got '{crowd}'.")
    layers = []
    for region in regions:
        mask = encode_segmentation(region.segmentation, height, width)
        value = IGNORE if region.is_crowd and crowd == "ignore" else region.label
        if mask is not None and mask_utils.area(mask):
            layers.append(Layer(value, region.is_crowd, mask))
    return draw_layers(layers, height, width), len(regions) - len(layers)


def draw_layers(
    layers: Sequence[Layer], height: int, width: int, by_size: bool = True
) -> np.ndarray:
    """Draw a label map (height, width) uint8 in COCO's order, or each layer over those before it.

    The masks must be of this height and width.
    """
    if by_size:
        # Reversed before a stable sort: among equals the first of the file is drawn last.
        layers = sorted(
            layers[::-1], key=lambda one: (not one.is_crowd, -int(mask_utils.area(one.mask)))
        )
    label: np.ndarray = np.zeros((height, width), dtype=np.uint8)
    for layer in layers:
        label[mask_utils.decode(layer.mask) > 0] = layer.value
    return label


def encode_segmentation(segmentation: Any, height: int, width: int) -> dict | None:
    """Turn a segmentation into a mask of pycocotools, checked: its C code trusts what it gets.

    Returns:
        The mask; None for rings that enclose nothing (none of them has three corners).

    Raises:
        ValueError: If it is malformed.
    """
    if isinstance(segmentation, list):
        rings = [_checked_ring(ring, height, width) for ring in segmentation]
        # With two corners pycocotools would take the numbers for a box.
        rings = [ring for ring in rings if len(ring) >= 6]
        return mask_utils.merge(mask_utils.frPyObjects(rings, height, width)) if rings else None
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= segmentation.keys():
        raise ValueError("a segmentation that is neither a list of rings nor counts and size")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"a mask of the size {segmentation['size']}, not {[height, width]}")
    counts = segmentation["counts"]
    runs = expand_counts(counts) if isinstance(counts, str) else counts
    good = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
    # Where runs do not fill the image, pycocotools leaves what was in memory.
    if not good or sum(runs) != height * width:
        raise ValueError(f"runs that do not fill {width}x{height} pixels")
    return mask_utils.frPyObjects({"counts": runs, "size": [height, width]}, height, width)


def _checked_ring(ring: Any, height: int, width: int) -> list[float]:
    """Return a ring; one image size beyond the image is accepted, pycocotools cuts it off."""
    good = isinstance(ring, list) and all(type(value) in (int, float) for value in ring)
    if not good or len(ring) % 2:
        raise ValueError("a ring that is not a list of x and y by turns")
    for values, side in ((ring[::2], width), (ring[1::2], height)):
        # Written so that NaN is refused, too.
        if not all(-side <= value <= 2 * side for value in values):
            raise ValueError(f"a ring that lies far outside of the {width}x{height} image")
    return ring


def expand_counts(text: str) -> list[int]:
    """Expand the runs of a compressed mask.

    A run is written in groups of 5 bits, the lowest first; a sixth bit says that another group
    follows, and the top bit of the last one is the sign. From the fourth run on the difference to
    the run before the last one is written. A group is one character, starting from "0".

    Returns:
        Pixels by turns without and with the object, column by column.

    Raises:
        ValueError: If a character cannot be, or the text is cut off.
    """
    runs: list[int] = []
    value = shift = 0
    for char in text:
        group = ord(char) - 48
        if not 0 <= group < 64 or shift >= 5 * _MAX_CHARS:
            raise ValueError("a compressed mask that cannot be read")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("a compressed mask that is cut off")
    return runs


class ImageResult(NamedTuple):
    """What became of one image."""

    made: bool  # whether its label map was drawn; False if it was there already
    fault: str = ""  # why it cannot be used, in a few words; empty if it can
    num_blank: int = 0  # annotations that cover no pixel, where it was drawn


def draw_missing_mask(
    img_id: str,
    height: int,
    width: int,
    regions: list[Region],
    photos: Path,
    masks: Path,
    crowd: str = "class",
) -> ImageResult:
    """Check the photo of an image and draw its label map, unless it is there complete.

    Height and width are what the annotations say; ``photos`` and ``masks`` are folders. See
    :func:`draw_label` for the others.

    Returns:
        What was done; a fault of the input is part of it and not raised.

    Raises:
        OSError: If the label map cannot be written.
    """
    path = safe_join(masks, img_id, ".png")
    try:
        _check_photo(safe_join(photos, img_id, ".jpg"), height, width)
        if is_whole_label_png(path, height, width):
            return ImageResult(False)
        label, num_blank = _draw(regions, height, width, crowd)
    except ValueError as error:
        return ImageResult(False, str(error))
    write_label_png(path, label)
    if not is_whole_label_png(path, height, width):
        raise OSError(f"Label map '{path}' was written and is not whole: check the disk.")
    return ImageResult(True, num_blank=num_blank)


def _check_photo(path: Path, height: int, width: int) -> None:
    """Compare the stored size of a photo, before any EXIF rotation, with that of its annotations.

    COCO's annotations count the pixels as they are stored.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header
            with Image.open(path) as photo:
                size = photo.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("its photo cannot be read") from error
    if size != (width, height):
        raise ValueError(
            f"its photo has {size[0]}x{size[1]} pixels, its annotations {width}x{height}"
        )

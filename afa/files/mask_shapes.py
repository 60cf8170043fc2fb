"""Masks as annotation tools write them: rings, CVAT's runs, Label Studio's brush.

A mask here is what pycocotools makes of pixels, see :mod:`afa.files.coco_mask`; H, W: its height
and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_utils

# Label Studio packs the RGBA values of a mask into bits: how many values, bits of a value less 1,
# and four sizes of counts less 1. Then come blocks: whether it is a run, which of the sizes its
# count has, the count less 1, and the value of the run or all values of the block.
_CHANNELS = 4
_COUNT_SIZES = (3, 4, 8, 16)
_VALUE_BITS = 8


def encode_pixels(pixels: np.ndarray) -> dict:
    """Turn (H, W) of bool into a mask of pycocotools."""
    return mask_utils.encode(np.asfortranarray(pixels, dtype=np.uint8))


def trace_rings(pixels: np.ndarray, tolerance: float = 0.75) -> list[np.ndarray]:
    """Trace the outline of each connected region along the edges of its pixels.

    Holes are joined to the outline by a slit without width, because neither COCO nor the tools have
    holes; what is drawn from the rings is the same.

    Args:
        pixels: (H, W) of bool.
        tolerance: Corners are left out where the outline moves by about this many pixels at most;
            with 0 the rings give the same pixels again.

    Returns:
        (n, 2) int32 x and y of the corners of each region, n at least 3, in 0..W and 0..H.
    """
    # Twice as large, the outermost pixels of a region lie beside the edges, whose places they give.
    large = cv2.resize(pixels.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = []
    for index, contour in enumerate(contours):
        hole, parent = tree[0, index, 2:]
        if parent >= 0:
            continue
        ring = _corners(contour, tolerance)
        while hole >= 0:
            inner = _corners(contours[hole], tolerance)
            near = int(((ring - inner[0]) ** 2).sum(axis=1).argmin())
            ring = np.concatenate([ring[: near + 1], inner, inner[:1], ring[near:]])
            hole = tree[0, hole, 0]
        rings.append(ring)
    return rings


def _corners(contour: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the corners of a contour that was traced in a picture of twice the size."""
    ring: np.ndarray = (contour[:, 0] + 1) // 2
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    ring = ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    simple = cv2.approxPolyDP(ring.astype(np.int32), tolerance, closed=True)[:, 0]
    return simple if tolerance > 0 and len(simple) > 2 else ring


def ellipse_ring(
    center: Sequence[float], radii: Sequence[float], degrees: float = 0.0
) -> list[float]:
    """Return an ellipse (x and y of its center, of its radii; turned clockwise) as a ring."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x, y = radii[0] * np.cos(angles), radii[1] * np.sin(angles)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    points = np.stack([center[0] + cos * x - sin * y, center[1] + sin * x + cos * y], axis=1)
    return points.ravel().tolist()


def write_cvat_runs(pixels: np.ndarray) -> dict[str, str]:
    """Return a mask (H, W) of bool, not empty, as the attributes of CVAT's ``<mask>``.

    Its runs count pixels row by row inside of a box, by turns without and with the object.
    """
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    box = pixels[top : rows[-1] + 1, left : columns[-1] + 1]
    ends = np.flatnonzero(np.diff(box.ravel().astype(np.int8), prepend=0, append=2))
    runs = ", ".join(map(str, np.diff(ends, prepend=0)))
    return dict(
        rle=runs, left=str(left), top=str(top), width=str(box.shape[1]), height=str(box.shape[0])
    )


def read_cvat_runs(text: str, box: Sequence[int], height: int, width: int) -> dict:
    """Turn CVAT's runs into a mask.

    Args:
        text: The runs.
        box: left, top, width and height of the box that they fill.
        height: H.
        width: W.

    Raises:
        ValueError: If the runs do not fill the box, or the box leaves the image.
    """
    left, top, box_width, box_height = box
    if min(left, top) < 0 or left + box_width > width or top + box_height > height:
        raise ValueError(f"a mask that leaves the {width}x{height} image")
    words = text.replace(",", " ").split()
    runs = [int(word) if word.isdecimal() and len(word) < 12 else -1 for word in words]
    if min(runs, default=0) < 0 or sum(runs) != box_width * box_height:
        raise ValueError(f"runs that do not fill {box_width}x{box_height} pixels")
    pixels: np.ndarray = np.zeros((height, width), dtype=bool)
    flat: np.ndarray = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    pixels[top : top + box_height, left : left + box_width] = flat.reshape(box_height, box_width)
    return encode_pixels(pixels)


def write_brush_runs(pixels: np.ndarray) -> list[int]:
    """Return a mask (H, W) of bool as Label Studio's brush has it: bytes 0..255."""
    flat: np.ndarray = pixels.ravel().astype(np.int8)
    ends: np.ndarray = np.flatnonzero(np.diff(flat, append=2)) + 1
    bits = [f"{flat.size * _CHANNELS:032b}", f"{_VALUE_BITS - 1:05b}"]
    bits += [f"{size - 1:04b}" for size in _COUNT_SIZES]
    most = 2 ** _COUNT_SIZES[-1]
    for end, length in zip(ends.tolist(), np.diff(ends, prepend=0).tolist(), strict=True):
        value = f"{255 * int(flat[end - 1]):08b}"
        left = length * _CHANNELS
        while left > 0:
            count = min(left, most)
            kind = next(i for i, size in enumerate(_COUNT_SIZES) if count <= 2**size)
            bits.append(f"1{kind:02b}{count - 1:0{_COUNT_SIZES[kind]}b}{value}")
            left -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def read_brush_runs(data: Any, height: int, width: int) -> dict:
    """Turn the bytes of Label Studio's brush into a mask: where they are not transparent.

    Raises:
        ValueError: If they are no bytes, cut off, or of another size.
    """
    if not isinstance(data, list) or not all(type(one) is int and 0 <= one < 256 for one in data):
        raise ValueError("brush strokes that are no list of bytes")
    bits = np.unpackbits(np.array(data, dtype=np.uint8))
    place = 0

    def take(count: int) -> np.ndarray:
        nonlocal place
        place += count
        if place > bits.size:
            raise ValueError("brush strokes that are cut off")
        return bits[place - count : place]

    def number(count: int) -> int:
        return int("".join(map(str, take(count).tolist())), 2)

    total, value_bits = number(32), number(5) + 1
    if total != height * width * _CHANNELS:
        raise ValueError(f"brush strokes that are not those of a {width}x{height} image")
    sizes = [number(4) + 1 for _ in range(4)]
    values: np.ndarray = np.zeros(total, dtype=bool)
    start = 0
    while start < total:
        is_run, kind = number(1), number(2)
        end = min(start + number(sizes[kind]) + 1, total)
        words = take(value_bits * (1 if is_run else end - start))
        values[start:end] = words.reshape(-1, value_bits).any(axis=1)
        start = end
    return encode_pixels(values.reshape(height, width, _CHANNELS)[..., -1])

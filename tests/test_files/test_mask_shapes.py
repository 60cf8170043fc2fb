"""Rings and runs as annotation tools have them, there and back."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from afa.files.coco_mask import encode_segmentation
from afa.files.mask_shapes import (
    ellipse_ring,
    read_brush_runs,
    read_cvat_runs,
    trace_rings,
    write_brush_runs,
    write_cvat_runs,
)

PIXELS = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]], dtype=bool)


def noise(seed):
    """Regions with holes in holes, lines, single pixels, of any size."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2).tolist()
    smooth = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.3, 3))
    pixels = smooth >= np.quantile(smooth, rng.uniform(0, 0.9))
    return pixels, height, width


def drawn(rings, height, width):
    mask = encode_segmentation([ring.ravel().tolist() for ring in rings], height, width)
    return np.zeros((height, width), bool) if mask is None else mask_utils.decode(mask) > 0


def test_rings_run_along_the_edges_of_pixels():
    (ring,) = trace_rings(PIXELS, tolerance=0)
    corners = {(1, 1), (3, 1), (3, 2), (4, 2), (4, 3), (2, 3), (2, 2), (1, 2)}
    assert {tuple(point) for point in ring.tolist()} == corners and len(ring) == 8


def test_a_hole_is_joined_by_a_slit():
    pixels = np.ones((5, 5), bool)
    pixels[2, 2] = False
    (ring,) = trace_rings(pixels)
    assert len(ring) == 4 + 4 + 2  # the corners of both, and the way back
    np.testing.assert_array_equal(drawn([ring], 5, 5), pixels)


@pytest.mark.parametrize("seed", range(40))
def test_rings_without_tolerance_give_the_same_pixels(seed):
    pixels, height, width = noise(seed)
    np.testing.assert_array_equal(drawn(trace_rings(pixels, 0), height, width), pixels)


def test_tolerance_makes_fewer_corners():
    y, x = np.mgrid[:60, :60]
    pixels = (x - 30) ** 2 + (y - 28) ** 2 < 500
    exact, simple = (trace_rings(pixels, tolerance)[0] for tolerance in (0, 0.75))
    assert len(simple) < len(exact) / 2
    differs = drawn([simple], 60, 60) != pixels
    square = np.ones((3, 3), np.uint8)
    border = cv2.dilate(pixels.astype(np.uint8), square) != cv2.erode(
        pixels.astype(np.uint8), square
    )
    assert differs.any() and not (differs & ~border).any()
    assert not trace_rings(np.zeros((4, 4), bool))


def test_ellipse():
    mask = encode_segmentation([ellipse_ring((20, 15), (12, 5), 30)], 30, 40)
    area = int(mask_utils.area(mask))
    assert area == pytest.approx(np.pi * 12 * 5, rel=0.03)
    ys, xs = np.nonzero(mask_utils.decode(mask))
    slope = np.polyfit(xs, ys, 1)[0]  # y goes down, so that it falls to the right
    assert 0.3 < slope < 0.6


def test_runs_of_cvat_by_hand():
    written = write_cvat_runs(PIXELS)
    assert written == dict(rle="0, 2, 2, 2", left="1", top="1", width="3", height="2")
    read = read_cvat_runs("0,2, 2 ,2", [1, 1, 3, 2], 3, 5)
    np.testing.assert_array_equal(mask_utils.decode(read), PIXELS)
    np.testing.assert_array_equal(
        mask_utils.decode(read_cvat_runs("2, 1", [0, 0, 3, 1], 1, 3)), [[0, 0, 1]]
    )


def bits_of_brush(*blocks):
    """Put numbers of given widths together as Label Studio does, with its usual header."""
    header = [(7, 5), (2, 4), (3, 4), (7, 4), (15, 4)]
    first, *others = blocks
    text = "".join(f"{value:0{width}b}" for value, width in [first, *header, *others])
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def test_runs_of_the_brush_by_hand():
    # Two pixels of four channels; a run of 4 values 255, and one of 4 values 0.
    one, zero = [(1, 1), (0, 2), (3, 3), (255, 8)], [(1, 1), (0, 2), (3, 3), (0, 8)]
    expected = bits_of_brush((8, 32), *one, *zero)
    assert write_brush_runs(np.array([[True, False]])) == expected
    np.testing.assert_array_equal(mask_utils.decode(read_brush_runs(expected, 1, 2)), [[1, 0]])
    # A block of single values: only the last channel says what is painted, and how much of it.
    values = [200, 10, 10, 0, 0, 0, 0, 1]
    block = [(0, 1), (1, 2), (7, 4), *((value, 8) for value in values)]
    read = read_brush_runs(bits_of_brush((8, 32), *block), 1, 2)
    np.testing.assert_array_equal(mask_utils.decode(read), [[0, 1]])


@pytest.mark.parametrize("seed", range(20))
def test_runs_come_back(seed):
    pixels, height, width = noise(seed)
    np.testing.assert_array_equal(
        mask_utils.decode(read_brush_runs(write_brush_runs(pixels), height, width)), pixels
    )
    runs = write_cvat_runs(pixels)
    box = [int(runs[key]) for key in ("left", "top", "width", "height")]
    np.testing.assert_array_equal(
        mask_utils.decode(read_cvat_runs(runs["rle"], box, height, width)), pixels
    )


def test_long_runs_of_the_brush():
    pixels = np.ones((300, 400), bool)  # 480,000 values: more than one count can say
    pixels[150] = False
    data = write_brush_runs(pixels)
    assert len(data) < 60
    np.testing.assert_array_equal(mask_utils.decode(read_brush_runs(data, 300, 400)), pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([0, 0], "cut off"),
        ([255] * 400, "not those of a 2x1 image"),
        ("AAAA", "no list of bytes"),
        ([0.5, 1], "no list of bytes"),
        ([True], "no list of bytes"),
        (write_brush_runs(np.ones((1, 2), bool))[:8], "cut off"),
    ],
)
def test_broken_brush(data, message):
    with pytest.raises(ValueError, match=message):
        read_brush_runs(data, 1, 2)


@pytest.mark.parametrize(
    ("text", "box", "message"),
    [
        ("1, 2", [0, 0, 2, 2], "do not fill 2x2"),
        ("1, -1, 4", [0, 0, 2, 2], "do not fill"),
        ("1, x", [0, 0, 2, 2], "do not fill"),
        ("9" * 5000, [0, 0, 2, 2], "do not fill"),
        ("", [0, 0, 2, 2], "do not fill"),
        ("0, 4", [4, 0, 2, 2], "leaves the 5x3 image"),
        ("0, 4", [0, -1, 2, 2], "leaves the 5x3 image"),
    ],
)
def test_broken_runs_of_cvat(text, box, message):
    with pytest.raises(ValueError, match=message):
        read_cvat_runs(text, box, 3, 5)

"""Draw the built-in data set "Shapes": small pictures with exact masks, from a seed.

Every object is a body of one colour, drawn from a range all classes share, with one part of 70 to
90 % of its area that carries the ink and the pattern of its class. A classifier needs only the
part, so its class activation map covers the part; the rest of the object has to be found through
colour and affinity. Between the ink the part shows the body's colour, so that colour leads from
the part to the body.

This file needs numpy and OpenCV only; ``shapes.py`` writes the files.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

CLASSES = ("background", "ball", "box", "tent", "star", "egg", "cross")
PALETTE = [
    [0, 0, 0], [214, 39, 40], [188, 189, 34], [31, 119, 180], [255, 187, 20], [227, 60, 200],
    [44, 160, 90],
]  # fmt: skip
SPLITS = ("train", "val")

# Ink of the pattern per class, RGB. Everything else is muted, so that a network without any
# pre-training finds the inks within a few hundred iterations.
_INKS = {
    "ball": (225, 25, 35),
    "box": (0, 215, 235),
    "tent": (255, 130, 0),
    "star": (255, 225, 0),
    "egg": (235, 20, 210),
    "cross": (0, 205, 60),
}
_NUM_OBJECTS_PROBS = (0.32, 0.45, 0.23)  # 1, 2, 3 objects: about 1.6 classes an image
_SIZE_RANGE = (0.36, 0.7)  # diameter of an object over the shorter image side
_MAX_ANGLE = 25.0
_MIN_VISIBLE = 0.6  # of an object's area, after occlusion and the image border
_PART_RANGE = (0.7, 0.9)
_MIN_CONTRAST = 65.0  # Euclidean distance in RGB
_MUTED = 0.35  # share of the chroma that bodies, background and clutter keep
_SUPERSAMPLE = 4  # for smooth object edges
_MAX_LAYOUTS = 60


class ShapesObject(NamedTuple):
    """One visible object: class name and box (y0, y1, x0, x1), end-exclusive."""

    name: str
    box: tuple[int, int, int, int]


class ShapesSample(NamedTuple):
    """One picture: BGR image (H, W, 3) uint8, mask (H, W) uint8 with 0..6, objects front last."""

    image: np.ndarray
    mask: np.ndarray
    objects: list[ShapesObject]


class _Placed(NamedTuple):
    """An object with its place: polygon (P, 2) in pixels, centre (x, y), radius, angle."""

    name: str
    polygon: np.ndarray
    center: np.ndarray
    radius: float
    angle: float


def generate_sample(seed: int, split: str, index: int, size: int = 96) -> ShapesSample:
    """Draw one picture; the same arguments always give the same pixels.

    Args:
        seed: Seed of the whole set.
        split: ``'train'`` or ``'val'``.
        index: Number of the picture in its split.
        size: Sides are drawn from 0.85 to 1.15 times this many pixels.

    Returns:
        Image, mask and the list of visible objects.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    height, width = (round(size * rng.uniform(0.85, 1.15)) for _ in range(2))
    placed, alphas = _draw_layout(rng, height, width)
    ground = _mute(rng.uniform(40, 215, size=3))
    canvas = _draw_background(rng, height, width, ground)
    owner: np.ndarray = np.full((height, width), -1, dtype=np.int64)
    for number, (obj, alpha) in enumerate(zip(placed, alphas, strict=True)):
        surface = _draw_surface(rng, obj, alpha > 0.5, ground)
        canvas += alpha[..., None] * (surface - canvas)
        owner[alpha > 0.5] = number
    canvas += rng.normal(0, 4.0, size=canvas.shape)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)[..., ::-1].copy()  # RGB -> BGR
    mask: np.ndarray = np.zeros((height, width), dtype=np.uint8)
    objects = []
    for number, obj in enumerate(placed):
        mask[owner == number] = CLASSES.index(obj.name)
        objects.append(ShapesObject(obj.name, _box(owner == number)))
    return ShapesSample(image, mask, objects)


def _mute(color: np.ndarray) -> np.ndarray:
    """Pull colours (..., 3) towards their grey."""
    grey = color.mean(axis=-1, keepdims=True)
    return grey + _MUTED * (color - grey)


def _box(visible: np.ndarray) -> tuple[int, int, int, int]:
    """Return (y0, y1, x0, x1) of a non-empty bool mask (H, W)."""
    ys, xs = np.nonzero(visible.any(1))[0], np.nonzero(visible.any(0))[0]
    return int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1


def _silhouette(name: str) -> np.ndarray:
    """Return the outline of a class as a polygon (P, 2) of (x, y) within the unit circle."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    if name == "ball":
        return 0.92 * np.stack([np.cos(turn), np.sin(turn)], 1)
    if name == "egg":
        return np.stack([np.cos(turn), 0.6 * np.sin(turn)], 1)
    if name == "box":
        return np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]])
    if name == "tent":
        return np.array([[0.0, -1.0], [0.95, 0.75], [-0.95, 0.75]])
    if name == "star":
        spike = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 1.0, 0.52)
        return reach[:, None] * np.stack([np.cos(spike), np.sin(spike)], 1)
    a, b = 0.4, 0.95  # cross: half width and half length of the arms
    quarter = np.array([[a, -b], [a, -a], [b, -a]])
    right_angle = np.array([[0, -1], [1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(right_angle.T, n) for n in range(4)])


def _place(rng: np.random.Generator, height: int, width: int) -> _Placed:
    """Draw class, size, angle and place of one object."""
    name = str(rng.choice(CLASSES[1:]))
    # Uniform in area, so that most objects are several tokens of stride 16 wide.
    size = np.sqrt(rng.uniform(_SIZE_RANGE[0] ** 2, _SIZE_RANGE[1] ** 2))
    radius = size * min(height, width) / 2
    angle = np.deg2rad(rng.uniform(-_MAX_ANGLE, _MAX_ANGLE))
    margin = 0.9 * radius  # an object may leave the image by a tenth of its radius
    center = np.array([rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)])
    stretch = rng.uniform(0.88, 1.0, size=2)
    cos, sin = np.cos(angle), np.sin(angle)
    points = _silhouette(name) * stretch * radius
    polygon = points @ np.array([[cos, sin], [-sin, cos]]) + center
    return _Placed(name, polygon, center, radius, angle)


def _coverage(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the share of each pixel that the polygon covers, (H, W) in 0..1."""
    fine: np.ndarray = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), dtype=np.uint8)
    corners = np.rint(polygon * _SUPERSAMPLE).astype(np.int32)
    cv2.fillPoly(fine, [corners], 255)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) / 255.0


def _draw_layout(
    rng: np.random.Generator, height: int, width: int
) -> tuple[list[_Placed], list[np.ndarray]]:
    """Place one to three objects so that each stays visible enough; later ones are in front."""
    count = int(rng.choice(len(_NUM_OBJECTS_PROBS), p=_NUM_OBJECTS_PROBS)) + 1
    for attempt in range(_MAX_LAYOUTS):
        # Rarely no place is found for three large objects: then try with one fewer.
        wanted = max(1, count - attempt // (_MAX_LAYOUTS // 3))
        placed = [_place(rng, height, width) for _ in range(wanted)]
        alphas = [_coverage(obj.polygon, height, width) for obj in placed]
        hidden: np.ndarray = np.zeros((height, width), dtype=bool)
        shares = []
        for obj, alpha in reversed(list(zip(placed, alphas, strict=True))):
            inside = alpha > 0.5
            area = cv2.contourArea(obj.polygon.astype(np.float32))
            shares.append((inside & ~hidden).sum() / max(area, 1.0))
            hidden |= inside
        if min(shares) >= _MIN_VISIBLE:
            break
    return placed, alphas


def _smooth_noise(
    rng: np.random.Generator, height: int, width: int, cells: int, amplitude: float
) -> np.ndarray:
    """Return colour noise (H, W, 3) that varies over about ``1 / cells`` of the image."""
    grid: np.ndarray = _mute(rng.normal(0, amplitude, size=(cells, cells, 3))).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float64)


def _random_point(rng: np.random.Generator, height: int, width: int) -> tuple[int, int]:
    return int(rng.uniform(0, width)), int(rng.uniform(0, height))


def _draw_background(
    rng: np.random.Generator, height: int, width: int, ground: np.ndarray
) -> np.ndarray:
    """Draw textured clutter around the colour ``ground``: gradient, noise, lines, blobs."""
    canvas = np.tile(ground, (height, width, 1))
    slope = _mute(rng.normal(0, 22, size=(2, 3)))
    ys, xs = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    canvas += ys[:, None, None] * slope[0] + xs[None, :, None] * slope[1]
    canvas += _smooth_noise(rng, height, width, 4, 18)
    canvas += _smooth_noise(rng, height, width, 14, 9)
    canvas = canvas.astype(np.float32)
    side = min(height, width)
    for _ in range(int(rng.integers(2, 7))):
        start, end = _random_point(rng, height, width), _random_point(rng, height, width)
        color = _mute(ground + rng.normal(0, 45, size=3))
        cv2.line(canvas, start, end, color.tolist(), int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(int(rng.integers(3, 9))):
        center = _random_point(rng, height, width)
        axes = [max(2, int(share * side)) for share in rng.uniform(0.02, 0.07, size=2)]
        color = _mute(rng.uniform(20, 245, size=3)).tolist()
        cv2.ellipse(canvas, center, axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
    return canvas.astype(np.float64)


def _body_color(rng: np.random.Generator, ground: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Draw an RGB colour that stands off from the background and from the ink."""
    best, best_contrast = ground, -1.0
    for _ in range(20):
        color = _mute(rng.uniform(35, 225, size=3))
        contrast = min(np.linalg.norm(color - ground), np.linalg.norm(color - ink) - 30)
        if contrast > best_contrast:
            best, best_contrast = color, float(contrast)
        if contrast >= _MIN_CONTRAST:
            break
    return best


def _draw_surface(
    rng: np.random.Generator, obj: _Placed, inside: np.ndarray, ground: np.ndarray
) -> np.ndarray:
    """Draw body and patterned part of an object over the whole canvas, (H, W, 3)."""
    height, width = inside.shape
    ink = np.array(_INKS[obj.name]) + rng.normal(0, 8, size=3)
    body = _body_color(rng, ground, ink)
    dx = np.arange(width)[None, :] + 0.5 - obj.center[0]
    dy = np.arange(height)[:, None] + 0.5 - obj.center[1]
    light = rng.uniform(0, 2 * np.pi)
    shade = 1 + 0.12 * (np.cos(light) * dx + np.sin(light) * dy) / obj.radius
    surface = body * shade[..., None] + _smooth_noise(rng, height, width, 20, 5)

    where = rng.uniform(0, 2 * np.pi)
    reach = 0.55 * obj.radius
    distance = np.hypot(dx - reach * np.cos(where), dy - reach * np.sin(where))
    limit = np.quantile(distance[inside], rng.uniform(*_PART_RANGE))
    cos, sin = np.cos(obj.angle), np.sin(obj.angle)
    period = max(5.0, 0.3 * obj.radius)
    u, v = (cos * dx + sin * dy) / period, (-sin * dx + cos * dy) / period
    strength = np.clip(limit - distance + 0.5, 0, 1) * (1 - _pattern(obj.name, u, v, period))
    return surface + strength[..., None] * (ink - surface)


def _pattern(name: str, u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Return where the ink of the class is left out, 0..1, for coordinates in periods."""
    if name == "ball":  # dots
        level = 0.3 - np.hypot(u - np.rint(u), v - np.rint(v))
    elif name == "box":  # checker, smooth sign of a product of sines
        level = 0.64 * np.sin(np.pi * u) * np.sin(np.pi * v) - 0.2
    elif name == "tent":  # stripes
        level = 0.15 - np.abs(u - np.rint(u))
    elif name == "star":  # rings
        reach = np.hypot(u, v)
        level = 0.15 - np.abs(reach - np.rint(reach))
    elif name == "egg":  # zigzag
        bent = v + np.abs(u - 2 * np.rint(u / 2))
        level = 0.15 - np.abs(bent - np.rint(bent))
    else:  # small plus signs
        du, dv = np.abs(u - np.rint(u)), np.abs(v - np.rint(v))
        level = np.minimum(0.13 - np.minimum(du, dv), 0.4 - np.maximum(du, dv))
    return np.clip(level * period + 0.5, 0, 1)

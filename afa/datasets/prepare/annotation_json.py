"""Read the JSON of COCO, Label Studio and labelme: which classes were marked on a photo, and where.

Written from the descriptions that the tools publish.
"""

from __future__ import annotations

import base64
import io
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

from afa.datasets.prepare.annotation_marks import (
    Annotations,
    Mark,
    MarkedPhoto,
    Outline,
    Report,
    class_name,
    short_text,
    size_of,
    take,
    to_number,
)
from afa.files.coco_mask import encode_segmentation
from afa.files.mask_shapes import ellipse_ring, encode_pixels, read_brush_runs
from afa.files.photo_search import PHOTO_SUFFIXES


def _read_coco(content: Any, path: Path, into: Annotations, fault: Report) -> Iterator[MarkedPhoto]:
    categories = take(content, "categories", list)
    names = {take(item, "id", (int, str)): take(item, "name", str) for item in categories}
    whole = all(isinstance(key, int) for key in names)
    into.classes += [names[key] for key in (sorted(names) if whole else names)]
    images: dict[int | str, MarkedPhoto] = {}
    for item in take(content, "images", list):
        key = take(item, "id", (int, str))
        photo = MarkedPhoto((take(item, "file_name", str),), [], size_of(item, "height", "width"))
        if images.setdefault(key, photo) != photo:
            raise ValueError(f"its list 'images' has two images of the id {key}")
    bad = set()
    for number, item in enumerate(take(content, "annotations", list)):
        key = None
        try:
            key = take(item, "image_id", (int, str))
            category = take(item, "category_id", (int, str))
            for one, known, part in ((key, images, "images"), (category, names, "categories")):
                if one not in known:
                    raise ValueError(f"its list '{part}' does not have the id {one!r}")
            images[key].marks.append(_coco_mark(item, names[category]))
        except ValueError as error:
            bad.add(key)
            fault(f"annotation {number}", error)
    yield from (photo for key, photo in images.items() if key not in bad)


def _coco_mark(item: Mapping[str, Any], name: str) -> Mark:
    shape = item.get("segmentation")
    if not shape or (isinstance(shape, list) and not any(shape)):
        return Mark(name)
    if isinstance(shape, list) and not any(isinstance(ring, list) for ring in shape):
        shape = [shape]  # one ring, as some tools write it
    return Mark(name, partial(encode_segmentation, shape), bool(item.get("iscrowd")))


def _read_label_studio(
    content: Any, path: Path, into: Annotations, fault: Report
) -> Iterator[MarkedPhoto]:
    tasks = content if isinstance(content, list) else [content]
    # Files without a single annotation hold predictions that nobody has looked at yet.
    good = [task for task in tasks if isinstance(task, dict)]
    done = any("data" not in task or task.get("annotations") for task in good)
    for number, task in enumerate(tasks):
        where = f"task {task.get('id', number)}" if isinstance(task, dict) else f"task {number}"
        try:
            if not isinstance(task, dict):
                raise ValueError(f"{short_text(task)} stands where a task belongs")
            results = _results(task, "annotations" if done else "predictions")
            if results:
                yield _label_studio_photo(task, results[-1])
        except ValueError as error:
            fault(where, error)


def _results(task: Any, key: str) -> list[list]:
    """Return what each annotator has marked; of several, ground truth comes last."""
    if "data" not in task:  # the short form, JSON-MIN: fields by the names of the labels
        values = [one for one in task.values() if isinstance(one, (dict, list))]
        listed = [item for one in values for item in (one if isinstance(one, list) else [one])]
        listed += [
            {"choices": [task[name]]} for name in _CHOICES if isinstance(task.get(name), str)
        ]
        return [[item for item in listed if isinstance(item, dict)]]
    given = [one for one in take(task, key, list, []) if isinstance(one, dict)]
    given = [one for one in given if not one.get("was_cancelled")]
    given.sort(key=lambda one: bool(one.get("ground_truth")))
    return [take(one, "result", list) for one in given]


_CHOICES = ("choice", "choices")


def _label_studio_photo(task: Mapping[str, Any], results: list) -> MarkedPhoto:
    texts = [
        text for text in {**task, **take(task, "data", dict, {})}.values() if isinstance(text, str)
    ]
    names = [name for name in map(_path_of_url, texts) if name.lower().endswith(PHOTO_SUFFIXES)]
    if not names:
        raise ValueError("it names no photo")
    # What was uploaded has a number of eight digits before its name.
    names += [re.sub(r"^[0-9a-f]{8}-", "", posixpath.basename(name)) for name in names]
    marks, size = [], None
    for item in results:
        value = take(item, "value", dict, item)
        size = size_of(item, "original_height", "original_width") or size
        place = {"x", "points", "rle"} & value.keys()
        if item.get("image_rotation"):
            raise ValueError("the photo was turned in the tool: turn the file, and mark it anew")
        for key, listed in value.items():
            if key in _CHOICES and place:
                continue  # says something about a region, such as that it is cut off
            if key in ("choices", "labels") or key.endswith("labels"):
                outline = _label_studio_outline(value)
                words = [listed] if isinstance(listed, str) else take(value, key, list)
                marks += [Mark(class_name(word), outline, is_tag=not place) for word in words]
    return MarkedPhoto(tuple(names), marks, size)


def _path_of_url(text: str) -> str:
    if "://" not in text and not text.startswith("/data/"):
        return text
    parts = urlsplit(text)
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")


def _label_studio_outline(value: Mapping[str, Any]) -> Outline | None:
    if "rle" in value:
        return partial(read_brush_runs, value["rle"])
    if "points" in value:
        points = [to_number(number) for point in _points(value) for number in point]
    elif "radiusX" in value:
        keys = ("x", "y", "radiusX", "radiusY", "rotation")
        points = [to_number(value.get(key, 0)) for key in keys]
    else:
        return None
    return partial(_percent_outline, points, "radiusX" in value)


def _percent_outline(numbers: list[float], ellipse: bool, height: int, width: int) -> dict | None:
    """Draw what is given in percent of the sides."""
    sides = (width, height) * len(numbers)
    ring = [number * side / 100 for number, side in zip(numbers, sides, strict=False)]
    if ellipse:
        ring = ellipse_ring(ring[:2], ring[2:4], numbers[4])
    return encode_segmentation([ring], height, width)


def _read_labelme(
    content: Any, path: Path, into: Annotations, fault: Report
) -> Iterator[MarkedPhoto]:
    flags = take(content, "flags", dict, {})
    marks = [Mark(name, is_tag=True) for name, is_set in flags.items() if is_set is True]
    marks += [_labelme_mark(shape) for shape in take(content, "shapes", list)]
    names = (take(content, "imagePath", str, ""), path.stem)
    yield MarkedPhoto(names, marks, size_of(content, "imageHeight", "imageWidth"))


def _labelme_mark(shape: Any) -> Mark:
    name = class_name(take(shape, "label", str))
    kind = take(shape, "shape_type", str, "polygon")
    points = [[to_number(number) for number in point] for point in _points(shape)]
    if kind == "polygon":
        return Mark(name, partial(encode_segmentation, [[n for point in points for n in point]]))
    if kind == "circle" and len(points) == 2:
        radius = math.dist(*points)
        return Mark(name, partial(encode_segmentation, [ellipse_ring(points[0], [radius] * 2)]))
    if kind == "mask" and points:
        return Mark(name, partial(_labelme_pixels, take(shape, "mask", str), points[0]))
    return Mark(name)


def _labelme_pixels(text: str, corner: list[float], height: int, width: int) -> dict:
    """Place the PNG of a mask."""
    left, top = map(int, corner)
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
            right, bottom = left + image.width, top + image.height
            if min(left, top) < 0 or right > width or bottom > height:
                raise ValueError("it leaves the photo")
            pixels = np.array(image.convert("L")) > 0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask that cannot be read ({error})") from error
    placed: np.ndarray = np.zeros((height, width), dtype=bool)
    placed[top:bottom, left:right] = pixels
    return encode_pixels(placed)


def _points(item: Any) -> list[list]:
    points = take(item, "points", list)
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError("'points' are no pairs of x and y")
    return points


JSON_READERS: dict[str, Any] = {
    "coco": _read_coco,
    "label-studio": _read_label_studio,
    "labelme": _read_labelme,
}

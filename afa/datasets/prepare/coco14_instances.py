"""Read COCO's instance annotations, image by image and checked."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from afa.datasets.wsss_dataset import check_ids
from afa.files.annotation_kinds import COMMAND
from afa.files.coco_mask import Region
from afa.utils.class_names import beside, clean_name

_MAX_SIDE = 65535  # pixels, of JPEG
_MAX_ID = 2**53  # what every JSON reader keeps exactly
_PARTS = ("images", "annotations", "categories")
_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode
_HINT = (
    "take the file from annotations_trainval2014.zip; of annotations with other classes "
    f"{COMMAND} makes labels"
)


class CocoImage(NamedTuple):
    """One image of an annotation file."""

    key: int  # its number in the file
    img_id: str  # its file name without suffix
    height: int
    width: int


class CocoInstances:
    """Hold the text of an annotation file, and where in it the annotations of each image stand.

    The annotations themselves stay text until an image is asked for: as Python objects, those of
    train2014 would take some gigabytes.

    Args:
        path: ``instances_train2014.json`` or ``instances_val2014.json``.
        classes: The 80 classes in the order of their labels, background first.

    Raises:
        ValueError: If the file cannot be read, is malformed, or has other categories.
    """

    def __init__(self, path: str | Path, classes: Sequence[str]) -> None:
        self.path = Path(path)
        self.classes = tuple(classes)
        try:
            data = self.path.read_bytes()
            self.sha256 = hashlib.sha256(data).hexdigest()
            self._text = data.decode("utf-8")
            del data
            images, categories, table = _scan(self._text)
        except OSError as error:
            raise ValueError(
                f"Annotations '{self.path}' cannot be read ({error.strerror}): {_HINT}."
            ) from error
        except ValueError as error:  # of the text, its JSON, or what the JSON says
            raise ValueError(f"Malformed annotations '{self.path}': {error}; {_HINT}.") from error
        self.num_images = len(images)
        self._check_categories(categories)
        self._index(images, sorted(categories), table)

    def labels(self, image: CocoImage) -> list[int]:
        """Return the classes 1..80 of an image, sorted; all annotations count, crowds too."""
        return np.unique(self._labels[self._rows(image)]).tolist()

    def regions(self, image: CocoImage) -> list[Region]:
        """Return the annotations of an image in the order of the file."""
        rows = self._rows(image)
        columns = (self._labels, self._crowds, self._starts, self._ends)
        found = zip(*(column[rows].tolist() for column in columns), strict=True)
        return [
            Region(label, bool(is_crowd), json.loads(self._text[start:end])["segmentation"])
            for label, is_crowd, start, end in found
        ]

    def count_regions(self) -> Counter[str]:
        """Count the annotations of each class."""
        return Counter(self.classes[label] for label in self._labels)

    def _rows(self, image: CocoImage) -> slice:
        first = np.searchsorted(self._keys, image.key)
        return slice(first, np.searchsorted(self._keys, image.key, side="right"))

    def _index(
        self, images: dict[int, CocoImage], category_ids: list[int], table: dict[str, np.ndarray]
    ) -> None:
        """Sort the annotations by image, turn category ids to labels, keep images with objects."""
        known = {"category_id": category_ids, "image_id": list(images)}
        for name, ids in known.items():
            wrong = np.flatnonzero(~np.isin(table[name], ids))
            if wrong.size:
                raise ValueError(
                    f"Annotations '{self.path}' have an annotation with the {name} "
                    f"{table[name][wrong[0]]}, which the file does not list; {_HINT}."
                )
        if not table["outlined"].any():
            raise ValueError(
                f"None of the {len(table['outlined']):,} annotations in '{self.path}' has an "
                "outline: they are boxes alone ('segmentation' is empty), and label maps cannot be "
                "drawn from boxes; take annotations with outlines."
            )
        order = np.argsort(table["image_id"], kind="stable")
        self._keys, categories, self._crowds, self._starts, self._ends = (
            table[name][order] for name in ("image_id", "category_id", "iscrowd", "start", "end")
        )
        self._labels = np.searchsorted(category_ids, categories) + 1
        self.num_annotations = len(order)
        self.num_crowds = int(self._crowds.sum())  # annotations that outline a group
        with_objects = (images[key] for key in np.unique(self._keys).tolist())
        self.images = sorted(with_objects, key=lambda image: image.img_id)
        check_ids([image.img_id for image in self.images], f"annotations '{self.path}'")

    def _check_categories(self, categories: dict[int, str]) -> None:
        names = [categories[key] for key in sorted(categories)]
        if names == list(self.classes[1:]):
            return
        odd = [name for name in names if name not in self.classes[1:]]
        lacking = [name for name in self.classes[1:] if name not in names]
        reason = "another order"
        if odd or lacking:
            reason = beside(odd[0], *self.classes) if odd else f"no '{lacking[0]}'"
        raise ValueError(
            f"Annotations '{self.path}' must have COCO's {len(self.classes) - 1} categories in the "
            f"order of their ids, got {len(names)} with {reason}; {_HINT}."
        )


def _scan(text: str) -> tuple[dict[int, CocoImage], dict[int, str], dict[str, np.ndarray]]:
    """Go through a file once: images, categories, and where the annotations stand."""
    images: dict[int, CocoImage] = {}
    categories: dict[int, str] = {}
    limits = {"image_id": _MAX_ID, "category_id": _MAX_ID, "iscrowd": 1}
    table = {name: array("q") for name in (*limits, "start", "end", "outlined")}
    found = set()
    for part, value, start, end in iter_array_items(text):
        found.add(part)
        if part == "images":
            image = _read_image(value)
            _add(images, image.key, image, part)
        elif part == "categories":
            name = clean_name(_field(value, "name", part))
            _add(categories, _number(value, "id", part, _MAX_ID), name, part)
        elif part == "annotations":
            table["outlined"].append(_has_outline(_field(value, "segmentation", part)))
            for key, most in limits.items():
                table[key].append(_number(value, key, part, most))
            table["start"].append(start)
            table["end"].append(end)
    missing = [part for part in _PARTS if part not in found]
    if missing:
        raise ValueError(f"it has no list '{missing[0]}', or an empty one")
    return images, categories, {name: np.array(column) for name, column in table.items()}


def _read_image(value: Any) -> CocoImage:
    part = "images"
    name = _field(value, "file_name", part)
    stem = name[: -len(".jpg")]
    plain = stem.split() == [stem] and not stem.startswith(".")
    if not name.endswith(".jpg") or not plain or any(mark in name for mark in "/\\:\0"):
        raise ValueError(
            f"the file_name {name!r} is not the name of a .jpg file without folders and spaces"
        )
    height, width = (_number(value, side, part, _MAX_SIDE) for side in ("height", "width"))
    if not height or not width:
        raise ValueError(f"the image {name!r} has no pixels")
    return CocoImage(_number(value, "id", part, _MAX_ID), stem, height, width)


def _has_outline(segmentation: Any) -> bool:
    """Tell whether a segmentation may cover pixels: runs, or a ring of three corners or more."""
    if not isinstance(segmentation, list):
        return segmentation is not None
    return any(not isinstance(ring, list) or len(ring) >= 6 for ring in segmentation)


def _add(known: dict[int, Any], key: int, value: Any, part: str) -> None:
    if key in known:
        raise ValueError(f"its list '{part}' has the id {key} twice")
    known[key] = value


def _field(value: Any, name: str, part: str) -> Any:
    """Return a field of an item; names must be texts."""
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"an item of its list '{part}' has no '{name}'")
    field = value[name]
    if "name" in name and not isinstance(field, str):
        raise ValueError(f"an item of its list '{part}' has a '{name}' that is no text")
    return field


def _number(value: Any, name: str, part: str, most: int) -> int:
    number = _field(value, name, part)
    if type(number) is not int or not 0 <= number <= most:
        raise ValueError(
            f"an item of its list '{part}' has the {name} {str(number)[:40]!r}, "
            f"which is no whole number 0..{most}"
        )
    return number


class ArrayItem(NamedTuple):
    """One item of an array in a JSON object."""

    key: str  # of the array
    value: Any
    start: int  # text[start:end] is the item
    end: int


def iter_array_items(text: str) -> Iterator[ArrayItem]:
    """Yield the items of every array that is a value of the outermost JSON object.

    ``json.load`` would make Python objects of the whole file, which take several times its size.
    Here the text, ``{"key": [item, ...], ...}``, is held, and one item at a time becomes an object;
    values that are no array are passed over.

    Raises:
        ValueError: If the text is malformed (with line and column), or names a key twice.
    """
    try:
        yield from _iter_object(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def _iter_object(text: str) -> Iterator[ArrayItem]:
    position = _expect(text, 0, "{")
    keys: set[str] = set()
    more = not text.startswith("}", position)
    while more:
        key, position = _decode(text, position)
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a key in double quotes", text, position)
        if key in keys:
            raise ValueError(f"it has '{key}' twice")
        keys.add(key)
        position = _expect(text, position, ":")
        if text.startswith("[", position):
            position = yield from _iter_array(text, position + 1, key)
        else:
            _, position = _decode(text, position)
        more, position = _comma(text, position)
    position = _expect(text, position, "}")
    if position < len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _iter_array(text: str, position: int, key: str) -> Generator[ArrayItem, None, int]:
    """Yield the items after ``[``; return where the array ends."""
    start = _skip(text, position)
    more = not text.startswith("]", start)
    while more:
        value, end = _decode(text, start)
        yield ArrayItem(key, value, start, end)
        more, start = _comma(text, end)
    return _expect(text, start, "]")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


def _comma(text: str, position: int) -> tuple[bool, int]:
    """Tell whether a comma stands here, and the place after it, spaces aside."""
    position = _skip(text, position)
    there = text.startswith(",", position)
    return there, _skip(text, position + there)


def _expect(text: str, position: int, mark: str) -> int:
    """Return the place after a mark that must stand here, spaces aside."""
    position = _skip(text, position)
    if not text.startswith(mark, position):
        raise json.JSONDecodeError(f"Expecting '{mark}'", text, position)
    return _skip(text, position + 1)

"""What annotations say about a photo, and fields of files that may hold anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

IGNORED = "__ignore__"  # labelme's word for pixels that are not counted
ADVICE = "mend it in the tool and export again, or leave its photo out with --allow-partial"
# Height and width of the image to a mask of pycocotools; None if it encloses nothing.
Outline = Callable[[int, int], dict | None]
Report = Callable[[str, Exception], None]


class Mark(NamedTuple):
    """A class that somebody has marked on a photo."""

    name: str
    outline: Outline | None = None  # None for a box, a tag, a point
    is_crowd: bool = False
    is_tag: bool = False  # of the photo as a whole


class MarkedPhoto(NamedTuple):
    """What the annotations say about a photo."""

    names: tuple[str, ...]  # what its file may be called, the likeliest first
    marks: list[Mark]
    size: tuple[int, int] | None = None  # height and width that the outlines are made for
    split: str | None = None


@dataclass
class Annotations:
    """What a file or folder of annotations says."""

    kind: str = ""
    photos: list[MarkedPhoto] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # in the order of the tool, where it has one


def take(item: Any, key: str, kind: Any, default: Any = ...) -> Any:
    """Return a value of a JSON object, which must be there (or have a default) and of a type."""
    if not isinstance(item, dict):
        raise ValueError(f"{short_text(item)} stands where an object with '{key}' belongs")
    value = item.get(key)
    value = default if value is None else value
    if value is ...:
        raise ValueError(f"'{key}' is missing")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{key}' is {short_text(value)}, which is of another type")
    return value


def short_text(value: Any) -> str:
    """Return the beginning of some JSON, for messages."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def class_name(value: Any) -> str:
    """Return the name of a class: a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{short_text(value)} is no name of a class")
    return value.strip()


def to_number(value: Any) -> float:
    """Return a number, or a text that is one; it must be finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{short_text(value)} stands where a number belongs")
    return number


def size_of(item: Any, *keys: str) -> tuple[int, int] | None:
    """Return height and width; None where one is missing."""
    height, width = (to_number(take(item, key, (int, float), 0)) for key in keys)
    return (int(height), int(width)) if height > 0 and width > 0 else None

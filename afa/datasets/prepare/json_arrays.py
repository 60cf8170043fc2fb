"""Go through a large JSON file item by item.

``json.load`` makes Python objects of the whole file, which take several times its size. Here the
text is held, and one item at a time becomes an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


class ArrayItem(NamedTuple):
    """One item of an array in a JSON object.

    Args:
        key: Key of the array.
        value: The item.
        start: Where it begins in the text.
        end: Where it ends in the text; ``text[start:end]`` is the item.
    """

    key: str
    value: Any
    start: int
    end: int


def iter_array_items(text: str) -> Iterator[ArrayItem]:
    """Yield the items of every array that is a value of the outermost JSON object.

    Values that are no array are passed over.

    Args:
        text: ``{"key": [item, ...], ...}``.

    Yields:
        The items, in the order of the text.

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
    while keys or not _at(text, position, "}"):
        key, position = _decode(text, _skip(text, position))
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a key in double quotes", text, position)
        if key in keys:
            raise ValueError(f"it has '{key}' twice")
        keys.add(key)
        position = _skip(text, _expect(text, position, ":"))
        if text.startswith("[", position):
            position = yield from _iter_array(text, position + 1, key)
        else:
            _, position = _decode(text, position)
        if not _at(text, position, ","):
            break
        position = _expect(text, position, ",")
    position = _skip(text, _expect(text, position, "}"))
    if position < len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _iter_array(text: str, position: int, key: str) -> Generator[ArrayItem, None, int]:
    """Yield the items after ``[``; return where the array ends."""
    if _at(text, position, "]"):
        return _expect(text, position, "]")
    while True:
        start = _skip(text, position)
        value, position = _decode(text, start)
        yield ArrayItem(key, value, start, position)
        if not _at(text, position, ","):
            return _expect(text, position, "]")
        position = _expect(text, position, ",")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


def _at(text: str, position: int, mark: str) -> bool:
    return text.startswith(mark, _skip(text, position))


def _expect(text: str, position: int, mark: str) -> int:
    """Return the place after a mark that must stand here, spaces aside."""
    position = _skip(text, position)
    if not text.startswith(mark, position):
        raise json.JSONDecodeError(f"Expecting '{mark}'", text, position)
    return position + 1

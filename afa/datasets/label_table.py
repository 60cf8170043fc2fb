"""Read the file in which people write down the labels of their photos: CSV or JSON.

Only the form of the file is checked here; whether names and classes make sense, elsewhere.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from afa.utils.problems import Report, refuse

_PHOTO = ("photo", "image", "file", "filename")
_LABELS = ("labels", "label", "classes", "class")
_TRUE, _FALSE = {"1", "1.0", "x", "true", "yes"}, {"", "0", "0.0", "false", "no"}
_FORM = "write 'photo,labels' into its first line, or 'photo' and one column for each class"


class LabelRow(NamedTuple):
    """What the file says about one photo."""

    where: str  # place in the file, for messages
    photo: str
    labels: list[str]
    split: str | None  # None where the file says nothing


class LabelTable(NamedTuple):
    """What the file says."""

    classes: list[str] | None  # of a header with one column for each class
    rows: list[LabelRow]


def read_label_table(path: str | Path, report: Report = refuse) -> LabelTable:
    """Read a file of labels.

    Args:
        path: A ``.json`` file, or CSV separated by commas, semicolons or tabs.
        report: What to do with a row that has a fault; it is left out.

    Returns:
        The rows in the order of the file.

    Raises:
        ValueError: If the file cannot be read or is of another form; at the first row with a
            fault, unless ``report`` gathers them.
    """
    path = Path(path)
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return LabelTable(None, list(_json_rows(text, path, report)))
    return _csv_table(text, path, report)


def read_text(path: Path) -> str:
    """Read text as Excel and editors write it: UTF-8 with or without mark, or marked UTF-16.

    Raises:
        ValueError: If the file cannot be read or is something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"The labels '{path}' cannot be read ({error.strerror}).") from error
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The labels '{path}' are not UTF-8 text (byte {error.start}): save the file as "
            "'CSV UTF-8'."
        ) from error


def _csv_lines(text: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield place and cells of each line that is not blank."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", first)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=bare.count), strict=True
    )
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"line {reader.line_num}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(
            f"The labels '{path}' are no proper CSV in line {reader.line_num} ({error}): mend it."
        ) from error


def _csv_table(text: str, path: Path, report: Report) -> LabelTable:
    lines = _csv_lines(text, path)
    _, header = next(lines, ("", []))
    while header and not header[-1]:
        header.pop()
    if not header:
        raise ValueError(f"The labels '{path}' are empty: {_FORM}.")
    photo, labels, split, classes = _columns(header, path)
    rows = []
    for where, cells in lines:
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            report(
                "labels file",
                f"'{path}', {where} has {len(cells)} columns, the header has {len(header)}: put "
                "several labels of a photo in quotes, or '|' between them.",
            )
            continue
        if labels is None:
            names = _marked(cells, header, classes, f"'{path}', {where}", report)
        else:
            names = [name.strip() for name in re.split(r"[;|,]", cells[labels]) if name.strip()]
        rows.append(LabelRow(where, cells[photo], names, None if split is None else cells[split]))
    return LabelTable(None if labels is not None else [header[i] for i in classes], rows)


def _columns(header: list[str], path: Path) -> tuple[int, int | None, int | None, list[int]]:
    """Find the columns of photo, labels and split, and those of the classes."""
    words = [cell.lower() for cell in header]
    photo = next((i for i, word in enumerate(words) if word in _PHOTO), None)
    labels = next((i for i, word in enumerate(words) if word in _LABELS), None)
    split = words.index("split") if "split" in words else None
    if photo is None:
        raise ValueError(
            f"The first line of '{path}' has no column 'photo', got {', '.join(header)}: {_FORM}."
        )
    if "" in header:
        raise ValueError(
            f"Column {header.index('') + 1} of '{path}' has no name in the first line."
        )
    others = [i for i in range(len(header)) if i not in (photo, labels, split)]
    if labels is not None and others:
        raise ValueError(
            f"'{path}' has a column '{header[others[0]]}' beside '{header[labels]}': the columns "
            "are photo, labels and split; take out or rename others."
        )
    if labels is None and not others:
        raise ValueError(f"'{path}' has neither a column 'labels' nor one for a class: {_FORM}.")
    return photo, labels, split, others


def _marked(
    cells: list[str], header: list[str], classes: list[int], where: str, report: Report
) -> list[str]:
    """Return the classes that a row has a 1 for."""
    names = []
    for i in classes:
        word = cells[i].lower()
        if word in _TRUE:
            names.append(header[i])
        elif word not in _FALSE:
            report("labels file", f"{where}: '{header[i]}' must be 0 or 1, got '{cells[i]}'.")
    return names


def _json_rows(text: str, path: Path, report: Report) -> Iterator[LabelRow]:
    form = f'\'{path}\' must hold one JSON object {{"photo.jpg": ["class", ...]}}'
    try:
        pairs = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Malformed JSON in '{path}': {error}.") from error
    if not isinstance(pairs, _Object):
        raise ValueError(f"{form}, got another JSON value.")
    for name, value in pairs.pairs:
        entry: dict[str, Any] = {"labels": value}
        if isinstance(value, _Object):
            entry = dict(value.pairs)
        labels, split = entry.get("labels"), entry.get("split")
        right = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        if (
            not right
            or not isinstance(split, (str, type(None)))
            or set(entry) - {"labels", "split"}
        ):
            report(
                "labels file",
                f'{form}, or {{"photo.jpg": {{"labels": ["class", ...], "split": "train"}}}}; '
                f"the value of '{name}' is neither.",
            )
            continue
        assert isinstance(labels, list)
        names = [label.strip() for label in labels if label.strip()]
        yield LabelRow(f"entry '{name}'", name.strip(), names, split)


class _Object:
    """A JSON object that still has the keys which stand in it twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

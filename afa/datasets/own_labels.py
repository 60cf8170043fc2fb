"""The file with the labels of photos of your own: classes, labels and splits (docs/own_data.md).

First the form of the file is read, CSV or JSON; then its names, classes and splits are checked.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from afa.datasets.faults import ReportFault, raise_fault
from afa.datasets.image_labels import JSONObject, in_order, parse_json_object
from afa.files.annotation_kinds import COMMAND
from afa.files.photo_search import PHOTO_SUFFIXES
from afa.files.whole_file import safe_join
from afa.utils.class_names import (
    beside,
    clean_name,
    look,
    made_of_others,
    stands_for_nothing,
    why_no_name,
)

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.2
MAX_CLASSES = 254  # masks have one byte: 0 is the background, 255 is ignored
_PHOTO = ("photo", "image", "file", "filename")
_LABELS = ("labels", "label", "classes", "class")
_TRUE, _FALSE = {"1", "1.0", "x", "true", "yes"}, {"", "0", "0.0", "false", "no"}
_BETWEEN = re.compile("[;|,\uff1b\uff5c\uff0c\u3001]")  # labels; the last ones are full-width
_CLASSES_FILE = "classes.txt"
_FORM = "write 'photo,labels' into its first line, or 'photo' and one column for each class"


class OwnPhoto(NamedTuple):
    """One photo of the labels file."""

    name: str  # path below the folder of the photos, with '/', as the file names it
    labels: tuple[str, ...]  # in the order of the classes
    split: str


class OwnLabels(NamedTuple):
    """What a labels file says."""

    classes: tuple[str, ...]  # background first
    photos: list[OwnPhoto]


def find_labels_file(data_root: str | Path | None, name: str | None = None) -> Path:
    """Find the labels file of a folder: the one that is named, or labels.csv or labels.json.

    Raises:
        ValueError: If there is none, or both are there.
    """
    root = Path(data_root or ".")
    paths = [root / one for one in (("labels.csv", "labels.json") if name is None else (name,))]
    found = [path for path in paths if path.is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"There are both '{paths[0]}' and '{paths[1]}': keep one of them.")
    listed = " or ".join(f"'{path}'" for path in paths)
    raise ValueError(
        f"There is no {listed}: the labels of the photos stand there (docs/own_data.md); set "
        f"data_root to the folder that has it, or make it of annotations with {COMMAND}."
    )


def read_own_labels(path: str | Path, report: ReportFault = raise_fault) -> OwnLabels:
    """Read classes, labels and splits of photos.

    The order of the classes is that of ``classes.txt`` beside the file, or else of the header
    with one column for each class, or else of the alphabet. Where the file says nothing about
    splits, a fifth of the photos is for validation, see :func:`hold_out`.

    Args:
        path: A ``.json`` file, or CSV.
        report: What to do with a fault; what has it is left out.

    Returns:
        The classes, and the photos in the order of the file.

    Raises:
        ValueError: If the file cannot be read or is of another form; at the first fault, unless
            ``report`` gathers them.
    """
    path = Path(path)
    table = read_label_table(path, report)
    rows = _named(table.rows, path, report)
    listed = _listed_classes(path)
    if table.classes is None:
        rows = [_without_odd_labels(row, listed or (), path, report) for row in rows]
    names = table.classes if listed is None else listed
    if names is None:
        names = sorted({label for row in rows for label in row.labels})
        _check_made_up(names, path, report)
    classes = _classes(path, names, report)
    hint = "add it to classes.txt or take it out."
    labels = [in_order(row.labels, classes, f"'{path}', {row.where}", report, hint) for row in rows]
    rows = [row._replace(labels=known) for row, known in zip(rows, labels, strict=True)]
    splits = _splits(rows, path, report)
    photos = [OwnPhoto(row.photo, tuple(row.labels), splits[row.photo]) for row in rows]
    return OwnLabels(("background", *classes), photos)


def photo_stem(name: str) -> str:
    """Take the suffix off the name of a photo; other dots belong to the name."""
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in PHOTO_SUFFIXES else name


def hold_out(photos: Sequence[tuple[str, Sequence[str]]], share: float = VAL_SHARE) -> set[str]:
    """Choose photos for validation; the same names and labels give the same choice everywhere.

    Photos with the same labels are put in the order of the checksums of their names, so that those
    of one day are not chosen together, and of each kind of labels the same share is taken. The
    last photo of a class stays for training.

    Args:
        photos: Name and labels of each.
        share: How many of the photos, 0..1.

    Returns:
        Names of the photos for validation.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, labels in photos:
        groups.setdefault(tuple(sorted(labels)), []).append(name)
    order = []  # place within the group in 0..1, checksum, name, labels
    for labels, names in groups.items():
        sums = sorted((hashlib.sha256(name.encode()).hexdigest(), name) for name in names)
        order += [((rank + 0.5) / len(sums), *pair, labels) for rank, pair in enumerate(sums)]
    left = Counter(label for _, labels in photos for label in labels)
    chosen: set[str] = set()
    for _, _, name, labels in sorted(order):
        if len(chosen) >= round(share * len(photos)):
            break
        if all(left[label] > 1 for label in labels):
            left.subtract(labels)
            chosen.add(name)
    return chosen


def _named(rows: Iterable[LabelRow], path: Path, report: ReportFault) -> list[LabelRow]:
    """Check the names of the photos: inside the folder, and each once."""
    seen: dict[str, LabelRow] = {}
    for row in rows:
        name = row.photo.replace("\\", "/").removeprefix("./")
        where = f"'{path}', {row.where}"
        try:
            safe_join("", name)
        except ValueError:
            what = f"leaves the folder: '{row.photo}'" if name else "is empty"
            report("photo name", f"{where}: the name of the photo {what}.")
            continue
        # Label maps and masks are named after the photo without its suffix.
        key = unicodedata.normalize("NFC", photo_stem(name))
        if key in seen:
            other = seen[key]
            reason = "their masks and results would have one name; rename one"
            reason = "keep one line" if other.photo == name else reason
            report(
                "photo named twice",
                f"{where} names '{name}', and {other.where} '{other.photo}': {reason}.",
            )
            continue
        seen[key] = row._replace(photo=name)
    if not seen:
        report("labels file", f"The labels '{path}' name no photo.")
    return list(seen.values())


def _listed_classes(path: Path) -> list[str] | None:
    """Read the classes of classes.txt beside the file; None if there is none."""
    source = path.with_name(_CLASSES_FILE)
    if not source.is_file():
        return None
    names = [name for line in read_text(source).splitlines() if (name := clean_name(line))]
    return names[1:] if names[:1] == ["background"] else names


def _without_odd_labels(
    row: LabelRow, listed: Collection[str], path: Path, report: ReportFault
) -> LabelRow:
    """Report labels that are no names of classes, and leave them out."""
    labels = []
    for label in row.labels:
        why = None if label in listed else why_no_name(label)
        if why:
            report(
                "class name",
                f"'{path}', {row.where}: '{label}' is no class name: {why}; a class that is really "
                f"called so must stand in {_CLASSES_FILE}.",
            )
        else:
            labels.append(label)
    return row._replace(labels=labels)


def _check_made_up(names: Sequence[str], path: Path, report: ReportFault) -> None:
    """Report classes that only a slip has made: several labels in one, or marks such as 0 and 1."""
    if made := made_of_others(names):
        lines = [f"'{name}' is made of {' and '.join(made[name])}" for name in made]
        report(
            "class made of others",
            f"'{path}' has classes that are made of other classes ({'; '.join(lines)}): write ';' "
            f"or '|' between the labels of a photo, or list all classes in {_CLASSES_FILE}.",
            lines,
        )
    words = {name.casefold() for name in names}
    if words <= _TRUE | _FALSE and words & _FALSE:
        report(
            "class name",
            f"The labels of '{path}' are only {' and '.join(names)}: name the column after the "
            f"class that they are about, or list them in {_CLASSES_FILE} if they are classes.",
        )


def _classes(path: Path, names: Sequence[str], report: ReportFault) -> list[str]:
    """Check the names of the foreground classes and return them."""
    source = path.with_name(_CLASSES_FILE)
    source = source if source.is_file() else path
    if not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(
            f"'{source}' has {len(names)} classes: there must be 1 to {MAX_CLASSES}, without the "
            "background."
        )
    seen: dict[str, str] = {}
    for name in names:
        key = look(name)
        if key == "background":
            report(
                "class name",
                f"'{source}' has a class 'background', which every photo has: take it out; a photo "
                "without any class has no labels.",
            )
            continue
        elif key in seen:
            other = seen[key]
            how = "is there twice" if other == name else f"is all but {beside(other, name)}"
            shown = beside(name, other)
            report("class name", f"The class {shown} of '{source}' {how}: keep one spelling.")
        seen.setdefault(key, name)
    return list(seen.values())


def _splits(rows: Sequence[LabelRow], path: Path, report: ReportFault) -> dict[str, str]:
    """Return the split of each photo."""
    if all(row.split is None for row in rows):
        chosen = hold_out([(row.photo, row.labels) for row in rows])
        return {row.photo: "val" if row.photo in chosen else "train" for row in rows}
    splits = {row.photo: (row.split or "").strip().lower() for row in rows}
    for row in rows:
        if splits[row.photo] not in SPLITS:
            rule = "the split must be train, val or test"
            report("split", f"'{path}', {row.where}: {rule}, got '{row.split or ''}'.")
            splits[row.photo] = "train"
    return splits


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


def read_label_table(path: str | Path, report: ReportFault = raise_fault) -> LabelTable:
    """Read the rows of a file: ``.json``, or CSV separated by commas, semicolons or tabs.

    Raises:
        ValueError: If the file cannot be read or is of another form; at the first row with a
            fault, unless ``report`` gathers them: it is left out then.
    """
    path = Path(path)
    text = read_text(path)
    if text.lstrip().startswith("<"):
        raise ValueError(f"'{path}' is XML, and no table of labels: {COMMAND} makes one of it.")
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
    told = re.match(r'\s*"?sep=([,;\t|])', first, re.IGNORECASE)  # Excel's own line
    mark = told[1] if told else max(",;\t\uff0c\uff1b", key=re.sub(r'"[^"]*"', "", first).count)
    # A quote counts after a space, too.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=True
    )
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if told:
                told = None
            else:
                yield f"line {reader.line_num}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(
            f"The labels '{path}' are no proper CSV in line {reader.line_num} ({error}): mend it."
        ) from error


def _csv_table(text: str, path: Path, report: ReportFault) -> LabelTable:
    lines = _csv_lines(text, path)
    _, header = next(lines, ("", []))
    header = [clean_name(cell) for cell in header]
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
            names = split_labels(cells[labels])
        rows.append(LabelRow(where, cells[photo], names, None if split is None else cells[split]))
    return LabelTable(None if labels is not None else [header[i] for i in classes], rows)


def split_labels(text: str) -> list[str]:
    """Split the labels of one photo, which may stand in quotes or be a list as Python writes it."""
    inside = text.strip()
    if inside.startswith("[") and inside.endswith("]"):
        inside = inside[1:-1]
    return [name for part in _BETWEEN.split(_unquoted(inside)) if (name := _unquoted(part))]


def _unquoted(text: str) -> str:
    """Take a pair of quotes off a text that has no others of their kind."""
    text = clean_name(text)
    pair = text[:1] in ("'", '"') and len(text) > 1 and text[-1] == text[0]
    return clean_name(text[1:-1]) if pair and text.count(text[0]) == 2 else text


def _columns(header: list[str], path: Path) -> tuple[int, int | None, int | None, list[int]]:
    """Find the columns of photo, labels and split, and those of the classes."""
    words = [cell.lower() for cell in header]
    photo, labels, split = (
        next((i for i, word in enumerate(words) if word in known), None)
        for known in (_PHOTO, _LABELS, ("split",))
    )
    if photo is None:
        raise ValueError(
            f"The first line of '{path}' has no column 'photo', got {', '.join(header)}: {_FORM}."
        )
    if "" in header:
        raise ValueError(
            f"Column {header.index('') + 1} of '{path}' has no name in the first line."
        )
    others = [i for i in range(len(header)) if i not in (photo, labels, split)]
    for i in others if labels is None else ():
        if stands_for_nothing(header[i]):
            raise ValueError(
                f"The column '{header[i]}' of '{path}' is no class: a photo without any class has "
                "0 in all columns; take it out."
            )
    if labels is not None and others:
        raise ValueError(
            f"'{path}' has a column '{header[others[0]]}' beside '{header[labels]}': the columns "
            "are photo, labels and split; take out or rename others."
        )
    if labels is None and not others:
        raise ValueError(f"'{path}' has neither a column 'labels' nor one for a class: {_FORM}.")
    return photo, labels, split, others


def _marked(
    cells: list[str], header: list[str], classes: list[int], where: str, report: ReportFault
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


def _json_rows(text: str, path: Path, report: ReportFault) -> Iterator[LabelRow]:
    form = f'\'{path}\' must hold one JSON object {{"photo.jpg": ["class", ...]}}'
    for name, value in parse_json_object(text, path, f"{form}, got another JSON value."):
        entry = dict(value.pairs) if isinstance(value, JSONObject) else {"labels": value}
        labels, split = entry.get("labels"), entry.get("split")
        right = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        if not right or not isinstance(split, str | None) or set(entry) - {"labels", "split"}:
            report(
                "labels file",
                f'{form}, or {{"photo.jpg": {{"labels": ["class", ...], "split": "train"}}}}; '
                f"the value of '{name}' is neither.",
            )
            continue
        names = [label for text in entry["labels"] if (label := clean_name(text))]
        yield LabelRow(f"entry '{name}'", name.strip(), names, split)

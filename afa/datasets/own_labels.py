"""Read the labels of photos of your own: classes, labels and splits, as docs/own_data.md says.

The form of the file is read in :mod:`afa.datasets.label_table`.
"""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from afa.datasets.label_table import LabelRow, read_label_table, read_text
from afa.files.photo_search import PHOTO_SUFFIXES
from afa.files.whole_file import safe_join
from afa.utils.problems import Report, refuse

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.2
MAX_CLASSES = 254  # masks have one byte: 0 is the background, 255 is ignored


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

    Args:
        data_root: The folder.
        name: Name of the file; None for either of the two.

    Returns:
        Path of the file.

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
        "data_root to the folder that has it."
    )


def read_own_labels(path: str | Path, report: Report = refuse) -> OwnLabels:
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
    used = sorted({label for row in rows for label in row.labels})
    classes = _classes(path, used if table.classes is None else table.classes, report)
    rows = [row._replace(labels=_known(row, classes, path, report)) for row in rows]
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


def _named(rows: Iterable[LabelRow], path: Path, report: Report) -> list[LabelRow]:
    """Check the names of the photos: inside the folder, and each once."""
    kept: list[LabelRow] = []
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
            reason = (
                "keep one line"
                if other.photo == name
                else "their masks and results would have one name; rename one"
            )
            report(
                "photo named twice",
                f"{where} names '{name}', and {other.where} '{other.photo}': {reason}.",
            )
            continue
        seen[key] = row._replace(photo=name)
        kept.append(seen[key])
    if not kept:
        report("labels file", f"The labels '{path}' name no photo.")
    return kept


def _classes(path: Path, names: Sequence[str], report: Report) -> list[str]:
    """Return the foreground classes, from classes.txt if it is there, and check their names."""
    listed = path.with_name("classes.txt")
    source = path
    if listed.is_file():
        source = listed
        names = [line.strip() for line in read_text(listed).splitlines() if line.strip()]
        if names and names[0] == "background":
            names = names[1:]
    if not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(
            f"'{source}' has {len(names)} classes: there must be 1 to {MAX_CLASSES}, without the "
            "background."
        )
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(name.casefold().split())
        if key == "background":
            report(
                "class name",
                f"'{source}' has a class 'background', which every photo has: take it out; a photo "
                "without any class has no labels.",
            )
            continue
        elif key in seen:
            how = "is there twice" if seen[key] == name else f"is all but '{seen[key]}'"
            report("class name", f"The class '{name}' of '{source}' {how}: keep one spelling.")
        seen.setdefault(key, name)
    return list(seen.values())


def _known(row: LabelRow, classes: Sequence[str], path: Path, report: Report) -> list[str]:
    """Return the labels of a row in the order of the classes, each once; tell unknown ones."""
    for label in row.labels:
        if label not in classes:
            near = difflib.get_close_matches(label, classes, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "add it to classes.txt or take it out."
            report("unknown class", f"Unknown class '{label}' in '{path}', {row.where}: {hint}")
    return [name for name in classes if name in row.labels]


def _splits(rows: Sequence[LabelRow], path: Path, report: Report) -> dict[str, str]:
    """Return the split of each photo."""
    if all(row.split is None for row in rows):
        chosen = hold_out([(row.photo, row.labels) for row in rows])
        return {row.photo: "val" if row.photo in chosen else "train" for row in rows}
    splits = {}
    for row in rows:
        split = (row.split or "").strip().lower()
        if split not in SPLITS:
            report(
                "split",
                f"'{path}', {row.where}: the split must be train, val or test, got "
                f"'{row.split or ''}'.",
            )
            split = "train"
        splits[row.photo] = split
    return splits

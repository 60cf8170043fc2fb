"""From what annotation tools export to photos of one's own: labels.csv, classes.txt, masks.

Nothing is written before all annotations are read, their photos found and their outlines drawn;
labels.csv comes last.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pycocotools import mask as mask_utils

from afa.datasets.faults import ReportFault, raise_fault
from afa.datasets.own_labels import OwnLabels, hold_out, photo_stem, read_own_labels, read_text
from afa.datasets.prepare import aligned
from afa.datasets.prepare.annotation_marks import ADVICE, IGNORED, Mark, MarkedPhoto
from afa.datasets.prepare.annotation_readers import read_annotations
from afa.files.annotation_kinds import KINDS
from afa.files.coco_mask import IGNORE, Layer, draw_layers
from afa.files.label_png import write_label_png
from afa.files.photo import read_photo_size, turn_upright
from afa.files.photo_search import find_photos
from afa.files.whole_file import safe_join, write_text
from afa.utils.class_names import clean_name

MASKS = "masks"
BACKGROUND = "background"


@dataclass
class _Photo:
    """A photo that was found, and all that its annotations say."""

    name: str  # its path below the folder
    marks: list[Mark]
    size: tuple[int, int] | None  # height and width that the outlines are made for
    split: str | None
    masks: list[dict | None] = field(default_factory=list)  # of the marks, where there are any
    orientation: int = 1  # EXIF's, where the outlines lie as the photo is stored


@dataclass
class AnnotationReport:
    """What became of the annotations."""

    kind: str
    own: OwnLabels
    num_marks: Counter[str]
    num_masks: int
    notes: list[str]

    def text(self) -> str:
        """Say it in some lines."""
        photos = Counter(name for photo in self.own.photos for name in photo.labels)
        rows = [
            (name, f"{photos[name]:,}", f"{self.num_marks[name]:,}")
            for name in self.own.classes[1:]
        ]
        splits = Counter(photo.split for photo in self.own.photos)
        listed = ", ".join(f"{split} {count:,}" for split, count in splits.items())
        total = f"{len(self.own.photos):,} photos ({listed}), {self.num_masks:,} masks"
        lines = aligned([("class", "photos", "marks"), *rows])
        return "\n".join([*lines, f"{KINDS[self.kind]}: {total}", *self.notes])


def convert_annotations(
    source: str | Path,
    photos: str | Path | None = None,
    kind: str | None = None,
    keep_empty: bool = False,
    leave_out: Collection[str] = (),
    overwrite: bool = False,
    report: ReportFault = raise_fault,
    progress: Callable[[int, int], None] | None = None,
) -> AnnotationReport:
    """Make labels.csv, classes.txt and masks (docs/own_data.md) from annotations.

    A photo gets a mask where all that is marked on it has an outline.

    Args:
        source: A file, or a folder with files.
        photos: Folder of the photos, where the labels are written; None for that of the source.
        kind: One of :data:`KINDS`; None where the files are to tell.
        keep_empty: Take a photo without any mark as one without any class; else it is left out.
        leave_out: Classes that are not taken.
        overwrite: Replace labels.csv and masks that are there.
        report: What to do with a fault; the photo is left out.
        progress: Called with the number of photos whose outlines are drawn, and of all.

    Returns:
        What was found.

    Raises:
        ValueError: If there is nothing to read or something would be lost; at the first fault,
            unless ``report`` gathers them.
        OSError: If a file cannot be written.
    """
    source, notes = Path(source), list[str]()
    folder = source if source.is_dir() else source.parent
    root = folder if photos is None else Path(photos)
    _check_target(root, overwrite)
    annotations = read_annotations(source, kind, report)
    finder = _Finder(root, folder / "labels" if annotations.kind == "fiftyone" else None)
    found, drawn = _find(annotations.photos, finder, report, notes), list[_Photo]()
    for number, photo in enumerate(found, start=1):
        photo.marks = [mark for mark in photo.marks if mark.name not in leave_out]
        try:
            _draw_outlines(photo, root)
            drawn.append(photo)
        except ValueError as error:
            sentence = f"The annotations of photo '{photo.name}' have {error}; {ADVICE}."
            report("outline", sentence)
        if progress is not None:
            progress(number, len(found))
    names = _class_names(drawn, notes)
    for photo in drawn:
        photo.marks = [mark._replace(name=names[mark.name]) for mark in photo.marks]
    drawn = _with_classes(drawn, keep_empty, notes)
    if not drawn:
        raise ValueError(f"Of '{source}' nothing is left to write. {' '.join(notes)}".strip())
    order = [names[name] for name in annotations.classes if name in names]
    own, files = _label_files(drawn, order, root)
    num_masks = _write_masks(drawn, own.classes, root, annotations.kind == "coco", notes)
    for name, text in files.items():
        write_text(root / name, text)
    marks = Counter(mark.name for photo in drawn for mark in photo.marks)
    return AnnotationReport(annotations.kind, own, marks, num_masks, notes)


def _check_target(root: Path, overwrite: bool) -> None:
    """Refuse a folder where the labels cannot go, or where they would replace others."""
    if not root.is_dir():
        raise ValueError(f"There is no folder '{root}' with photos: mend the path (--photos).")
    table, masks = root / "labels.json", root / MASKS
    if table.exists():
        raise ValueError(
            f"'{table}' would stand beside labels.csv, and one of them too many: give it another "
            "name, such as annotations.json."
        )
    there = [path for path in (root / "labels.csv", *masks.rglob("*.png")) if path.exists()]
    if there and not overwrite:
        raise ValueError(
            f"'{there[0]}' is there already: move labels.csv and {MASKS} away, or replace them "
            "with --overwrite."
        )


def _find(
    marked: Sequence[MarkedPhoto], finder: _Finder, report: ReportFault, notes: list[str]
) -> list[_Photo]:
    """Find the photos; what is said about one in several places is put together."""
    found, twice = dict[str, _Photo](), set[str]()
    for photo in marked:
        try:
            name = finder.find(photo.names)
        except ValueError as error:
            report("photo", str(error))
            continue
        one = found.setdefault(name, _Photo(name, [], photo.size, photo.split))
        if (one.size, one.split) != (photo.size, photo.split):
            said = f"{one.size} in '{one.split}', then {photo.size} in '{photo.split}'"
            report("photo", f"The annotations list '{name}' twice and not alike: {said}.")
            continue
        if one.marks and photo.marks:
            twice.add(name)
        one.marks += photo.marks
    if twice:
        notes.append(
            f"{len(twice):,} photos are listed several times, the first is '{min(twice)}': their "
            "marks are put together."
        )
    return sorted(found.values(), key=lambda photo: photo.name)


class _Finder:
    """Find the photos that annotations name: by the path, or as much of its end as there is."""

    def __init__(self, root: Path, leave_out: Path | None = None) -> None:
        self.root = root
        self.paths: dict[str, list[PurePosixPath]] = {}  # by name without suffix
        for photo in find_photos([root], leave_out=root / MASKS):
            if leave_out is not None and photo.path.is_relative_to(leave_out):
                continue
            path = PurePosixPath(photo.path.relative_to(root).as_posix())
            self.paths.setdefault(_plain(photo_stem(path.name)), []).append(path)

    def find(self, names: Sequence[str]) -> str:
        """Return the path of a photo below the folder; ``names`` are what it may be called.

        Raises:
            ValueError: If there is none, or more than one that it may be.
        """
        for name in names:
            if near := self._nearest(PurePosixPath(name)):
                if len(near) == 1:
                    return str(near[0])
                raise ValueError(
                    f"The photo '{name}' of the annotations may be '{near[0]}' or '{near[1]}' in "
                    f"'{self.root}': give the folder that its path begins in with --photos."
                )
        raise ValueError(
            f"The photo '{names[0] if names else ''}' of the annotations is not in '{self.root}': "
            "give the folder of the photos with --photos."
        )

    def _nearest(self, wanted: PurePosixPath) -> list[PurePosixPath]:
        stem = photo_stem(wanted.name)
        suffix = wanted.name[len(stem) :].lower()
        found = [
            path for path in self.paths.get(_plain(stem), []) if suffix in ("", path.suffix.lower())
        ]
        if wanted in found:
            return [wanted]
        found = [path for path in found if _nfc(photo_stem(path.name)) == _nfc(stem)] or found
        common = [_common_end(wanted.parts[:-1], path.parts[:-1]) for path in found]
        pairs = zip(found, common, strict=True)
        return [path for path, count in pairs if count == max(common)]


def _common_end(parts: Sequence[str], others: Sequence[str]) -> int:
    pairs = zip(reversed(parts), reversed(others), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: _nfc(pair[0]) == _nfc(pair[1]), pairs))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _plain(name: str) -> str:
    """Return a name as web tools keep it: letters, digits, and no spaces."""
    return re.sub(r"[^\w-]", "", _nfc(name).replace(" ", "_"))


def _draw_outlines(photo: _Photo, root: Path) -> None:
    """Turn the outlines of a photo into masks of the size that they are made for."""
    if any(mark.outline for mark in photo.marks):
        size, orientation = read_photo_size(root / photo.name)
        if photo.size not in (None, size):
            if orientation < 5 or photo.size != size[::-1]:
                raise ValueError(
                    f"the size {photo.size[1]}x{photo.size[0]}, and the file {size[1]}x{size[0]}"
                )
            photo.orientation = orientation
        photo.size = photo.size or size
    for mark in photo.marks:
        mask = mark.outline(*photo.size) if mark.outline and photo.size else None
        photo.masks.append(mask if mask is not None and mask_utils.area(mask) else None)


def _class_names(photos: Sequence[_Photo], notes: list[str]) -> dict[str, str]:
    """Give each name that was written its class: one spelling, and none that a CSV file breaks."""
    counts = Counter(mark.name for photo in photos for mark in photo.marks)
    names: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for raw, _ in counts.most_common():
        name = clean_name(re.sub(r'[;|,"]', " ", raw))
        name = BACKGROUND if name.casefold().strip("_") == BACKGROUND else name
        names[raw] = spelling.setdefault(name.casefold(), name)
        if names[raw] not in (raw, BACKGROUND):
            notes.append(f"The class '{raw}' is taken as '{names[raw]}'.")
    return names


def _with_classes(photos: Sequence[_Photo], keep_empty: bool, notes: list[str]) -> list[_Photo]:
    """Leave out photos without a class, unless they are wanted."""
    empty = [photo for photo in photos if not _labels(photo)]
    if not empty or keep_empty:
        return list(photos)
    notes.append(
        f"{len(empty):,} photos have no mark, the first is '{empty[0].name}': left out "
        "(--keep-empty takes them as photos without any class)."
    )
    return [photo for photo in photos if _labels(photo)]


def _labels(photo: _Photo) -> list[str]:
    return sorted({mark.name for mark in photo.marks} - {BACKGROUND, IGNORED})


def _label_files(
    photos: Sequence[_Photo], order: Sequence[str], root: Path
) -> tuple[OwnLabels, dict[str, str]]:
    """Write classes.txt and labels.csv to texts, and read them as the data set will.

    Raises:
        ValueError: If they are not as they have to be.
    """
    used = {name for photo in photos for name in _labels(photo)}
    classes = [*dict.fromkeys(name for name in order if name in used), *sorted(used - {*order})]
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    splits = _splits(photos)
    writer.writerow(["photo", "labels", "split"] if splits else ["photo", "labels"])
    for photo in photos:
        row = [photo.name, ";".join(_labels(photo))]
        writer.writerow([*row, splits[photo.name]] if splits else row)
    own_order = root / "classes.txt"
    text = read_text(own_order) if own_order.is_file() else "\n".join(classes) + "\n"
    files = {"classes.txt": text, "labels.csv": table.getvalue()}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            write_text(Path(folder) / name, content)
        try:
            own = read_own_labels(Path(folder) / "labels.csv")
        except ValueError as error:
            raise ValueError(str(error).replace(folder, str(root))) from error
    read = [(photo.name, sorted(photo.labels)) for photo in own.photos]
    for photo, one in zip(photos, read, strict=True):
        if (photo.name, _labels(photo)) != one:
            raise ValueError(
                f"The labels {', '.join(_labels(photo))} of '{photo.name}' would be read as "
                f"{', '.join(one[1])} of '{one[0]}': rename photo or classes in the annotations."
            )
    return own, files


def _splits(photos: Sequence[_Photo]) -> dict[str, str]:
    """Return the split of each photo; empty where the annotations do not tell photos apart."""
    if len({photo.split for photo in photos} - {None}) < 2:
        return {}
    splits = {photo.name: photo.split or "train" for photo in photos}
    if "val" not in splits.values():
        chosen = [(p.name, _labels(p)) for p in photos if splits[p.name] == "train"]
        splits.update(dict.fromkeys(hold_out(chosen), "val"))
    return splits


def _write_masks(
    photos: Sequence[_Photo], classes: Sequence[str], root: Path, by_size: bool, notes: list[str]
) -> int:
    """Write the masks of photos on which all marks have one; remove those that others had."""
    values = {**{name: value for value, name in enumerate(classes)}, IGNORED: IGNORE}
    outlined = any(mask is not None for photo in photos for mask in photo.masks)
    written, without = 0, []
    for photo in photos:
        path = safe_join(root / MASKS, photo_stem(photo.name), ".png")
        if not outlined or not _is_complete(photo):
            path.unlink(missing_ok=True)
            without.append(photo.name)
            continue
        layers = [
            Layer(values[mark.name], mark.is_crowd, mask)
            for mark, mask in zip(photo.marks, photo.masks, strict=True)
            if mask is not None
        ]
        height, width = photo.size or read_photo_size(root / photo.name)[0]
        label = draw_layers(layers, height, width, by_size)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_png(path, turn_upright(label, photo.orientation))
        written += 1
    if outlined and without:
        notes.append(
            f"{len(without):,} photos have no mask, the first is '{without[0]}': something on them "
            "has no outline (a box, a point, a tag)."
        )
    return written


def _is_complete(photo: _Photo) -> bool:
    """Tell whether all marks have a mask; a tag needs none where its class has one."""
    pairs = list(zip(photo.marks, photo.masks, strict=True))
    drawn = {mark.name for mark, mask in pairs if mask is not None}
    return all(mask is not None or (mark.is_tag and mark.name in drawn) for mark, mask in pairs)

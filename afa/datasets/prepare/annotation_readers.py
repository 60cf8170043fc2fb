"""Read what annotation tools export: which classes were marked on each photo, and where.

Written from the descriptions that the tools publish. What is marked is decoded when it is asked
for, so that thousands of photos need little memory. Faults of a photo are reported, and it is left
out.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from afa.datasets.faults import ReportFault
from afa.datasets.image_labels import read_xml
from afa.datasets.own_labels import read_label_table, read_text
from afa.datasets.prepare.annotation_json import JSON_READERS
from afa.datasets.prepare.annotation_marks import (
    ADVICE,
    IGNORED,
    Annotations,
    Mark,
    MarkedPhoto,
    Outline,
    Report,
    class_name,
    take,
    to_number,
)
from afa.files.annotation_kinds import KINDS, kind_of_json
from afa.files.coco_mask import encode_segmentation
from afa.files.label_png import read_label_png
from afa.files.mask_shapes import ellipse_ring, encode_pixels, read_cvat_runs
from afa.files.photo_search import find_photos

MASK_TARGETS = "mask_targets.json"
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_annotations(source: str | Path, kind: str | None, report: ReportFault) -> Annotations:
    """Read annotations of any of the :data:`KINDS`.

    Args:
        source: A file, or a folder with all files of a kind below it.
        kind: The kind; None where the files are to tell.
        report: What to do with a fault.

    Raises:
        ValueError: If there are no annotations, or of several kinds; at the first fault, unless
            ``report`` gathers them.
    """
    source = Path(source)
    if kind is not None and kind not in KINDS:
        raise ValueError(f"The form must be one of {', '.join(KINDS)}, got '{kind}'.")
    if not source.exists():
        raise ValueError(f"There are no annotations '{source}': mend the path.")
    if source.suffix.lower() in (".zip", ".gz", ".tar", ".tgz", ".7z"):
        raise ValueError(f"'{source}' is an archive: unpack it, and give the folder.")
    found: dict[str, Annotations] = {}
    first: dict[str, Path] = {}
    for path in _files(source):
        name, read = _recognise(path, kind, report)
        if name is None or read is None or kind not in (None, name):
            continue
        into = found.setdefault(name, Annotations(name))
        first.setdefault(name, path)
        folder = path.parent.relative_to(source) if source.is_dir() else Path()

        def fault(where: str, error: Exception, path: Path = path) -> None:
            report("annotation", f"'{path}', {where}: {error}; {ADVICE}.")

        try:
            into.photos += _placed(read(path, into, fault), folder, path)
        except ValueError as error:
            sentence = f"'{path}' is not as {KINDS[name]} is: {error}; {ADVICE}."
            report("annotation file", str(error) if str(path) in str(error) else sentence)
    if kind == "folders" or (kind is None and not found and _has_split_folders(source)):
        found["folders"] = Annotations("folders", list(_read_folders(source)))
    if len(found) > 1:
        seen = ", ".join(f"{KINDS[name]} ('{path}')" for name, path in first.items())
        raise ValueError(f"'{source}' has several forms: {seen}; give the file, or its --form.")
    if not found or not next(iter(found.values())).photos:
        listed = KINDS[kind] if kind else "; ".join(KINDS.values())
        raise ValueError(f"'{source}' has no annotations of a form that is read: {listed}.")
    return found.popitem()[1]


_Read = Callable[[Path, Annotations, Report], Iterable[MarkedPhoto]]


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        wanted = path.suffix.lower() in (".json", ".xml") or path.name == "_classes.csv"
        if wanted and path.is_file() and not path.name.startswith("."):
            yield path


def _has_split_folders(source: Path) -> bool:
    """Tell whether photos lie in folders of splits and classes, as Roboflow exports them."""
    others = {"images", "labels", "masks", "annotations"}
    folders = [path for path in source.glob("*/*") if path.is_dir()]
    return bool(folders) and all(
        _split_of(path.parent.name) and path.name.lower() not in others for path in folders
    )


def _recognise(
    path: Path, wanted: str | None, report: ReportFault
) -> tuple[str | None, _Read | None]:
    """Tell the kind of a file, and give what reads it; None for one that is something else."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "csv", _read_csv
    if path.name == MASK_TARGETS:
        return "fiftyone", _read_targets
    try:
        if suffix == ".xml":
            root = read_xml(path)
            kind = {"annotations": "cvat", "annotation": "voc"}.get(root.tag)
            return kind, {"cvat": partial(_read_cvat, root), "voc": partial(_read_voc, root)}.get(
                kind or ""
            )
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        report("annotation file", f"'{path}' is malformed ({error}): export it again.")
        return None, None
    kind = kind_of_json(content) or (wanted if wanted in JSON_READERS else None)
    return kind, partial(JSON_READERS[kind], content) if kind else None


def _placed(photos: Iterable[MarkedPhoto], folder: Path, path: Path) -> Iterator[MarkedPhoto]:
    """Name photos from the source on, and take splits from the names of files and folders."""
    split = _split_of(folder.name) or _split_of(path.stem)
    for photo in photos:
        names = [name.replace("\\", "/") for name in photo.names if name]
        names = [posixpath.join(folder.as_posix(), name) for name in names] + names
        placed = dict.fromkeys(posixpath.normpath(name) for name in names)
        yield photo._replace(names=tuple(placed), split=photo.split or split)


def _split_of(text: str) -> str | None:
    words = re.split(r"[^a-z]+", text.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def _read_cvat(
    root: ElementTree.Element, path: Path, into: Annotations, fault: Report
) -> Iterator[MarkedPhoto]:
    if root.find("track") is not None:
        raise ValueError("it is 'CVAT for video': export 'CVAT for images 1.1'")
    into.classes += [node.findtext("name", "").strip() for node in root.iter("label")]
    for node in root.iter("image"):
        name = node.get("name", "")
        try:
            if not name:
                raise ValueError("it has no name")
            size = int(_attribute(node, "height")), int(_attribute(node, "width"))
            shapes = [child for child in node if child.tag in _CVAT_SHAPES]
            shapes.sort(key=lambda child: _attribute(child, "z_order", "0"))
            marks = [_cvat_mark(child) for child in shapes]
            yield MarkedPhoto((name,), marks, size, _split_of(node.get("subset", "")))
        except ValueError as error:
            fault(f"image '{name}'", error)


_CVAT_SHAPES = {
    *("tag", "box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
}


def _cvat_mark(node: ElementTree.Element) -> Mark:
    name = node.get("label", "").strip()
    outline: Outline | None = None
    if not name:
        raise ValueError(f"a <{node.tag}> without label")
    if node.tag == "polygon":
        ring = [to_number(word) for word in re.split("[,;]", node.get("points", ""))]
        outline = partial(encode_segmentation, [ring])
    elif node.tag == "ellipse":
        x, y, *radii = (_attribute(node, key) for key in ("cx", "cy", "rx", "ry"))
        ring = ellipse_ring((x, y), radii, _attribute(node, "rotation", "0"))
        outline = partial(encode_segmentation, [ring])
    elif node.tag == "mask":
        box = [int(_attribute(node, key)) for key in ("left", "top", "width", "height")]
        outline = partial(read_cvat_runs, node.get("rle", ""), box)
    return Mark(name, outline, is_tag=node.tag == "tag")


def _attribute(node: ElementTree.Element, name: str, default: str = "") -> float:
    text = node.get(name, default)
    if not text:
        raise ValueError(f"its <{node.tag}> has no '{name}'")
    return to_number(text)


def _read_voc(
    root: ElementTree.Element, path: Path, into: Annotations, fault: Report
) -> Iterator[MarkedPhoto]:
    marks = []
    for node in root.iter("object"):
        name, polygon = (node.findtext("name") or "").strip(), node.find("polygon")
        if not name:
            raise ValueError("it has an <object> without <name>")
        ring = [] if polygon is None else [to_number(corner.text) for corner in polygon]
        marks.append(Mark(name, partial(encode_segmentation, [ring]) if ring else None))
    sides = [int(to_number(root.findtext(f"size/{side}") or "0")) for side in ("height", "width")]
    size = (sides[0], sides[1]) if all(sides) else None
    yield MarkedPhoto(((root.findtext("filename") or "").strip(), path.stem), marks, size)


def _read_csv(path: Path, into: Annotations, fault: Report) -> Iterator[MarkedPhoto]:
    table = read_label_table(path)
    into.classes += table.classes or []
    for row in table.rows:
        marks = [Mark(name, is_tag=True) for name in row.labels if name.lower() != "unlabeled"]
        yield MarkedPhoto((row.photo,), marks, split=row.split)


def _read_targets(path: Path, into: Annotations, fault: Report) -> Iterator[MarkedPhoto]:
    targets = {}
    for value, name in take({"": json.loads(read_text(path))}, "", dict).items():
        if not value.isdecimal() or not 0 <= int(value) <= 255:
            raise ValueError(f"'{value}' is no value of a pixel, 0 to 255")
        targets[int(value)] = class_name(name)
    targets.setdefault(255, IGNORED)
    into.classes += [targets[value] for value in sorted(targets)]
    folder = path.parent / "labels"
    for label in sorted(folder.rglob("*.png")):
        try:
            values = set(np.unique(read_label_png(label)).tolist()) - {0}
            if values - targets.keys():
                raise ValueError(
                    f"{MASK_TARGETS} does not have the value {min(values - targets.keys())}"
                )
            marks = [Mark(targets[value], partial(_value_pixels, label, value)) for value in values]
            yield MarkedPhoto((label.relative_to(folder).with_suffix("").as_posix(),), marks)
        except ValueError as error:
            fault(f"'{label}'", error)


def _value_pixels(path: Path, value: int, height: int, width: int) -> dict:
    label = read_label_png(path)
    if label.shape != (height, width):
        raise ValueError(f"a label map of {label.shape[1]}x{label.shape[0]} pixels")
    return encode_pixels(label == value)


def _read_folders(source: Path) -> Iterator[MarkedPhoto]:
    """Take the name of a folder as the class of its photos: [SPLIT/]CLASS/PHOTO."""
    for photo in find_photos([source]):
        name = photo.path.relative_to(source)
        *before, cls, _ = name.parts if len(name.parts) > 1 else ("", "", "")
        split = _split_of(before[0]) if len(before) == 1 else None
        if len(before) > 1 or (before and not split) or not cls:
            raise ValueError(
                f"'{photo.path}' does not lie in a folder with the name of its class, "
                f"'{source}/CLASS/PHOTO' or '{source}/train/CLASS/PHOTO'."
            )
        yield MarkedPhoto((name.as_posix(),), [Mark(cls, is_tag=True)], split=split)

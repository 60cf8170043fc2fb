"""From label maps to what annotation tools import, so that people can correct them.

What each tool reads lies in a folder of its own::

    coco          coco.json
    cvat          annotations.xml ("CVAT for images"), cvat_labels.json (for the task, as raw text)
    label-studio  tasks.json (with predictions), config.xml (for the labeling interface)
    fiftyone      labels/ (label maps in grey), data.json (the photos), mask_targets.json

Pixels 255, which are not counted, are a class ``__ignore__`` of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from afa.datasets.own_labels import MAX_CLASSES, read_own_labels, read_text
from afa.datasets.prepare.annotation_marks import IGNORED
from afa.datasets.prepare.annotation_readers import MASK_TARGETS
from afa.files.coco_mask import IGNORE
from afa.files.label_png import distinct_palette, read_label_png
from afa.files.mask_shapes import encode_pixels, trace_rings, write_brush_runs, write_cvat_runs
from afa.files.photo import read_photo_size
from afa.files.photo_search import find_photos
from afa.files.whole_file import read_json_object, safe_join, write_bytes, write_json, write_text

_RECORDS = ("summary.json", "predict.json")  # of pseudo_labels.py and predict.py


class LabelMap(NamedTuple):
    """A label map and its photo."""

    path: Path
    photo: PurePosixPath  # below the folder of photos

    def regions(self, classes: Sequence[str]) -> tuple[dict[str, np.ndarray], int, int]:
        """Read the map: (H, W) of bool for each class that is there, H, and W.

        Raises:
            ValueError: If it cannot be read, or has a value that is no class.
        """
        label = read_label_png(self.path)
        names = {**dict(enumerate(classes, start=1)), IGNORE: IGNORED}
        values = [value for value in np.unique(label).tolist() if value]
        for value in values:
            if value not in names:
                raise ValueError(
                    f"The label map '{self.path}' has the value {value}, and there are "
                    f"{len(classes)} classes: give all of them (--classes)."
                )
        return {names[value]: label == value for value in values}, *label.shape


class ExportOptions(NamedTuple):
    """How label maps are written."""

    polygons: bool = False  # outlines that are easy to move, and not each pixel
    tolerance: float = 0.75  # pixels that an outline may be simplified by; 0 keeps each pixel
    image_prefix: str = "/data/local-files/?d="  # what Label Studio finds the photos under


def export_labels(
    labels: str | Path,
    photos: str | Path,
    out: str | Path,
    form: str,
    classes: str | None = None,
    options: ExportOptions | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write label maps as an annotation tool imports them.

    Args:
        labels: Folder of label maps, or what ``pseudo_labels.py`` or ``predict.py`` wrote.
        photos: Folder of the photos; a label map has the path of its photo, without suffix.
        out: Folder for the result.
        form: One of :data:`WRITERS`.
        classes: Names with commas between, or a file: classes.txt, or labels of own photos; None
            where the folder of the labels says it.
        options: How.
        overwrite: Replace what is in ``out``.
        progress: Called with the number of label maps done, and of all.

    Returns:
        Number of label maps.

    Raises:
        ValueError: If a label map or photo is missing or they do not fit, or something would be
            lost.
        OSError: If a file cannot be written.
    """
    options, out = options or ExportOptions(), Path(out)
    if form not in WRITERS:
        raise ValueError(f"The form must be one of {', '.join(WRITERS)}, got '{form}'.")
    if options.polygons and form == "fiftyone":
        raise ValueError("FiftyOne takes label maps as they are: leave --polygons out.")
    if not 0 <= options.tolerance < 100:
        raise ValueError(f"The tolerance must be 0 to 100 pixels, got {options.tolerance}.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"'{out}' is a file: give a folder with --out.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ValueError(f"'{out}' is not empty: give another folder, or add --overwrite.")
    folder, names = Path(labels), _class_names(Path(labels), classes)
    folder = folder / "labels" if (folder / "labels").is_dir() else folder
    if folder.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"The labels '{folder}' lie in '{out}': give another folder with --out.")
    maps = find_label_maps(folder, Path(photos))
    _check_sizes(maps, Path(photos))
    out.mkdir(parents=True, exist_ok=True)

    def steps() -> Iterator[LabelMap]:
        for number, one in enumerate(maps, start=1):
            yield one
            if progress is not None:
                progress(number, len(maps))

    WRITERS[form](steps(), names, Path(photos), out, options)
    return len(maps)


def find_label_maps(folder: Path, photos: Path) -> list[LabelMap]:
    """Find the label maps of a folder and the photo of each.

    Raises:
        ValueError: If there are none, or one has no photo.
    """
    labels = sorted(one for one in folder.rglob("*.png") if not one.name.startswith("."))
    if not labels:
        raise ValueError(f"There is no label map (.png) in '{folder}': mend the path.")
    if not photos.is_dir():
        raise ValueError(f"There is no folder '{photos}' with photos: mend the path.")
    known: dict[str, PurePosixPath] = {}
    for photo in find_photos([photos]):
        path = PurePosixPath(photo.path.relative_to(photos).as_posix())
        if not photo.path.resolve().is_relative_to(folder.resolve()):
            known.setdefault(str(path.with_suffix("")), path)
            known[str(path)] = path  # predict.py keeps the suffix where two would be one
    maps = []
    for label in labels:
        name = label.relative_to(folder).with_suffix("").as_posix()
        if name not in known:
            raise ValueError(
                f"The label map '{label}' has no photo '{name}' in '{photos}': give the folder "
                "that the labels were made of."
            )
        maps.append(LabelMap(label, known[name]))
    return maps


def _check_sizes(maps: Sequence[LabelMap], photos: Path) -> None:
    """Compare label maps and photos, before anything is written."""
    for one in maps:
        height, width = read_label_png(one.path).shape
        size, _ = read_photo_size(photos / one.photo)
        if size != (height, width):
            raise ValueError(
                f"The label map '{one.path}' has {width}x{height} pixels, its photo "
                f"{size[1]}x{size[0]}: give the photos that the labels were made of."
            )


def _class_names(folder: Path, given: str | None) -> list[str]:
    """Return the classes in the order of their labels, without the background."""
    if given is None:
        records = (read_json_object(folder / name).get("classes") for name in _RECORDS)
        names = next((names for names in records if isinstance(names, list)), [])
    elif Path(given).suffix.lower() in (".csv", ".json"):
        names = list(read_own_labels(given).classes)
    elif Path(given).suffix.lower() == ".txt":
        names = [line.strip() for line in read_text(Path(given)).splitlines() if line.strip()]
    else:
        names = [name.strip() for name in given.split(",") if name.strip()]
    names = names[1:] if names[:1] == ["background"] else names
    if not all(isinstance(name, str) for name in names) or not 1 <= len(names) <= MAX_CLASSES:
        said = f"'{given}' has {len(names)}" if given else f"'{folder}' does not say their names"
        raise ValueError(
            f"The classes of the labels are not known, {said}: give their names in the order of "
            "their values with --classes cat,dog or a file with one in each line."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"The classes {', '.join(names)} have a name twice: mend --classes.")
    return names


def _colors(classes: Sequence[str]) -> dict[str, str]:
    palette = distinct_palette(len(classes) + 1)[1:]
    colors = {
        name: "#{:02x}{:02x}{:02x}".format(*color)
        for name, color in zip(classes, palette, strict=True)
    }
    return {**colors, IGNORED: "#ffffff"}


def _write_coco(
    maps: Iterator[LabelMap], classes: Sequence[str], photos: Path, out: Path, how: ExportOptions
) -> None:
    ids = {name: value for value, name in enumerate([*classes, IGNORED], start=1)}
    images, annotations = list[dict](), list[dict]()
    for number, one in enumerate(maps, start=1):
        regions, height, width = one.regions(classes)
        images.append(dict(id=number, file_name=str(one.photo), height=height, width=width))
        for name, pixels in regions.items():
            for shape, mask in _coco_shapes(pixels, how):
                box = [float(value) for value in mask_utils.toBbox(mask)]
                annotation = dict(image_id=number, category_id=ids[name], segmentation=shape)
                figures = dict(area=float(mask_utils.area(mask)), bbox=box, iscrowd=0)
                annotations.append(dict(id=len(annotations) + 1, **annotation, **figures))
    used = {annotation["category_id"] for annotation in annotations}
    categories = [
        dict(id=value, name=name, supercategory="")
        for name, value in ids.items()
        if name != IGNORED or value in used
    ]
    content = dict(images=images, annotations=annotations, categories=categories)
    write_text(out / "coco.json", json.dumps(content) + "\n")


def _coco_shapes(pixels: np.ndarray, how: ExportOptions) -> Iterator[tuple[Any, dict]]:
    """Give the segmentations of a class, one for each region or one of all, and their masks."""
    if how.polygons:
        for ring in trace_rings(pixels, how.tolerance):
            shape = [[float(number) for number in ring.ravel()]]
            yield shape, mask_utils.frPyObjects(shape, *pixels.shape)[0]
    else:
        mask = encode_pixels(pixels)
        yield dict(size=list(pixels.shape), counts=mask["counts"].decode()), mask


def _write_cvat(
    maps: Iterator[LabelMap], classes: Sequence[str], photos: Path, out: Path, how: ExportOptions
) -> None:
    colors, add = _colors(classes), ElementTree.SubElement
    root = ElementTree.Element("annotations")
    add(root, "version").text = "1.1"
    listed = add(add(add(root, "meta"), "task"), "labels")
    for name, color in colors.items():
        label = add(listed, "label")
        add(label, "name").text, add(label, "color").text = name, color
    for number, one in enumerate(maps):
        regions, height, width = one.regions(classes)
        place = dict(name=str(one.photo), width=str(width), height=str(height))
        image = add(root, "image", dict(place, id=str(number)))
        for name, pixels in regions.items():
            common = dict(label=name, source="auto", occluded="0", z_order="0")
            if not how.polygons:
                add(image, "mask", common | write_cvat_runs(pixels))
                continue
            for ring in trace_rings(pixels, how.tolerance):
                points = ";".join(f"{x}.0,{y}.0" for x, y in ring.tolist())
                add(image, "polygon", common | dict(points=points))
    ElementTree.indent(root)
    write_bytes(out / "annotations.xml", ElementTree.tostring(root, "utf-8", xml_declaration=True))
    task = [dict(name=name, color=color, attributes=[]) for name, color in colors.items()]
    write_json(out / "cvat_labels.json", task)


def _write_label_studio(
    maps: Iterator[LabelMap], classes: Sequence[str], photos: Path, out: Path, how: ExportOptions
) -> None:
    key = "polygonlabels" if how.polygons else "brushlabels"
    tasks = []
    for one in maps:
        regions, height, width = one.regions(classes)
        values: list[dict] = []
        for name, pixels in regions.items():
            if not how.polygons:
                values.append({"format": "rle", "rle": write_brush_runs(pixels), key: [name]})
                continue
            for ring in trace_rings(pixels, how.tolerance):
                points = (ring * 100 / np.array([width, height])).tolist()
                values.append({"points": points, "closed": True, key: [name]})
        common = dict(type=key, from_name="label", to_name="image", image_rotation=0)
        size = dict(original_width=width, original_height=height)
        result = [
            dict(id=f"r{number}", **common, **size, value=value)
            for number, value in enumerate(values)
        ]
        image = how.image_prefix + quote(str(one.photo))
        prediction = dict(model_version="afa", result=result)
        tasks.append(dict(data=dict(image=image), predictions=[prediction]))
    write_text(out / "tasks.json", json.dumps(tasks) + "\n")
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    tag = "PolygonLabels" if how.polygons else "BrushLabels"
    labels = ElementTree.SubElement(view, tag, name="label", toName="image")
    for name, color in _colors(classes).items():
        ElementTree.SubElement(labels, "Label", value=name, background=color)
    ElementTree.indent(view)
    write_text(out / "config.xml", ElementTree.tostring(view, "unicode") + "\n")


def _write_fiftyone(
    maps: Iterator[LabelMap], classes: Sequence[str], photos: Path, out: Path, how: ExportOptions
) -> None:
    data = {}
    for one in maps:
        one.regions(classes)  # no value but those of classes
        name = str(one.photo.with_suffix(""))
        data[name] = str((photos / one.photo).resolve())
        path = safe_join(out / "labels", name, ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not indexed: what reads the file there would take the colours.
        done, encoded = cv2.imencode(".png", read_label_png(one.path))
        assert done, "OpenCV could not encode a PNG"
        write_bytes(path, encoded.tobytes())
    write_json(out / "data.json", data)
    targets = {0: "background", **dict(enumerate(classes, start=1)), IGNORE: IGNORED}
    write_json(out / MASK_TARGETS, targets)


WRITERS: dict[str, Callable[..., None]] = {
    "coco": _write_coco,
    "cvat": _write_cvat,
    "label-studio": _write_label_studio,
    "fiftyone": _write_fiftyone,
}

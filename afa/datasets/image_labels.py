"""Labels of images: which classes each shows, and which sub-category of a class (SC-CAM).

Image labels say nothing about where a class is. They are a JSON file
``{"image id": ["class name", ...]}``, or a folder of VOC annotations (``<image id>.xml``).
Sub-category labels, made by clustering, are JSON: ``{"image id": {"class name": index, ...}}``.
Both may come from strangers: JSON is data by nature, and an XML file that declares a document type
(the door to entity attacks) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from afa.datasets.faults import ReportFault, raise_fault
from afa.files.annotation_kinds import refuse_annotations
from afa.files.whole_file import write_text
from afa.utils.class_names import beside, clean_name, clean_names, nearest_name

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SubLabels = dict[str, dict[str, int]]


def load_image_labels(
    path: str | Path,
    classes: Sequence[str],
    img_ids: Iterable[str],
    difficult: str = "keep",
    known: Collection[str] = (),
    report: ReportFault = raise_fault,
) -> dict[str, list[str]]:
    """Read the classes of many images.

    Args:
        path: A JSON file, or a folder of VOC annotations.
        classes: Classes of the data set, background first.
        img_ids: The images that need labels; the source may hold more.
        difficult: ``'keep'`` or ``'drop'`` difficult objects; for XML only.
        known: Further class names that are right but not asked for; they are left out.
        report: What to do with a fault of one image; it has no labels then.

    Returns:
        Image id to class names in the order of ``classes``.

    Raises:
        ValueError: If the JSON file is missing or malformed; also, unless ``report`` gathers it,
            if an annotation is, an image has no labels, or a class is unknown.
    """
    path = Path(path)
    every = [*classes, *(name for name in known if name not in classes)]
    labels: dict[str, list[str]] = {}
    table = {} if path.is_dir() else _read_table(path, report)
    for img_id in img_ids:
        if path.is_dir():
            try:
                labels[img_id] = labels_from_xml(path / f"{img_id}.xml", every, difficult, report)
            except ValueError as error:
                report("annotation", str(error))
                labels[img_id] = []
            continue
        if not table.get(img_id):
            state = "an empty list" if img_id in table else "no entry"
            report(
                "photo without labels",
                f"Image without labels: '{img_id}' has {state} in '{path}'; "
                "add its classes or take it off the list of the split.",
            )
        where = f"'{path}: {img_id}'"
        labels[img_id] = in_order(table.get(img_id, []), every[1:], where, report)
    return {img_id: [name for name in names if name in classes] for img_id, names in labels.items()}


def labels_from_xml(
    path: str | Path,
    classes: Sequence[str],
    difficult: str = "keep",
    report: ReportFault = raise_fault,
) -> list[str]:
    """Read the classes of one VOC annotation.

    Args:
        path: XML file with one ``<object>`` per object.
        classes: Classes of the data set, background first.
        difficult: ``'keep'`` or ``'drop'`` objects marked as difficult.
        report: What to do with an annotation without objects, or an unknown class.

    Returns:
        Class names in the order of ``classes``, each once.

    Raises:
        ValueError: If the file is missing or malformed; also, unless ``report`` gathers it, if it
            is empty of objects or has an unknown class.
    """
    if difficult not in ("keep", "drop"):
        raise ValueError(f"difficult must be 'keep' or 'drop', got '{difficult}'.")
    names, dropped = _names_in_xml(Path(path), difficult)
    if not names:
        reason = f"no <object> with a <name> in '{path}'; mend it"
        if dropped:
            reason = f"only difficult objects in '{path}'; use difficult='keep'"
        sentence = f"Image without labels: {reason} or take the image off the list."
        report("photo without labels", sentence)
    return in_order(names, classes[1:], f"'{path}'", report)


def labelled_ids(path: str | Path) -> set[str]:
    """Name all images that a JSON file or a folder of VOC annotations has labels for.

    Raises:
        ValueError: If the JSON file is missing or malformed.
    """
    path = Path(path)
    if path.is_dir():
        return {annotation.stem for annotation in path.glob("*.xml")}
    return set(_read_table(path, report=lambda *_: None))


def write_image_labels(path: str | Path, labels: Mapping[str, Sequence[str]]) -> None:
    """Write image labels as the JSON that :func:`load_image_labels` reads, one image per line.

    Raises:
        OSError: If the file cannot be written.
    """
    _write_table(path, {img_id: list(names) for img_id, names in labels.items()})


def to_multi_hot(names: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Turn class names into float32 (K,) with 1 where the image has the foreground class.

    Raises:
        ValueError: If a name is not a foreground class.
    """
    names = in_order(names, classes[1:], "labels")
    return np.array([name in names for name in classes[1:]], dtype=np.float32)


def load_sub_labels(
    path: str | Path,
    labels: Mapping[str, Collection[str]],
    num_sub: int = 10,
    known: Collection[str] = (),
) -> SubLabels:
    """Read the sub-categories of images whose classes are known.

    Args:
        path: The JSON file; it may hold more images.
        labels: Image id to class names: the images that are wanted.
        num_sub: Sub-categories of a class.
        known: Further classes that are right but not asked for; they are left out.

    Returns:
        Image id to {class name: sub-category 0..num_sub-1}, with exactly the classes of the image.

    Raises:
        ValueError: If the file is missing or malformed, an image or one of its classes has no
            sub-category, a class has one that the image does not have, or an index is outside its
            range.
    """
    form = 'must be a JSON object: the form is {"image id": {"class": index}}.'
    reason = 'give the JSON file {"image id": {"class": index}} that the clustering has written'
    data = _read_bytes(Path(path), "Sub-category labels", reason)
    table: dict[str, Any] = {}
    for img_id, entry in parse_json_object(data, path, f"'{path}' {form}"):
        if img_id in table:
            raise ValueError(f"'{path}' names the image '{img_id}' twice: keep one entry.")
        if not isinstance(entry, JSONObject):
            raise ValueError(f"the entry of '{img_id}' in '{path}' {form}")
        names = clean_names((name for name, _ in entry.pairs), f"'{path}', '{img_id}'")
        table[img_id] = dict(zip(names, (sub for _, sub in entry.pairs), strict=True))
    return {
        img_id: _check_sub(table.get(img_id), names, num_sub, known, f"'{img_id}' in '{path}'")
        for img_id, names in labels.items()
    }


def write_sub_labels(path: str | Path, table: Mapping[str, Mapping[str, int]]) -> None:
    """Write the JSON that :func:`load_sub_labels` reads, one image per line, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    plain = {key: {name: int(sub) for name, sub in subs.items()} for key, subs in table.items()}
    _write_table(path, plain)


def name_sub_labels(img_ids: Sequence[str], classes: Sequence[str], sub: np.ndarray) -> SubLabels:
    """Give the result of the clustering its names.

    Args:
        img_ids: n image ids.
        classes: Classes of the data set, background first.
        sub: (n, K) int, -1 where an image does not have a class.
    """
    return {
        img_id: {classes[k + 1]: int(row[k]) for k in np.flatnonzero(row >= 0).tolist()}
        for img_id, row in zip(img_ids, sub, strict=True)
    }


def sub_multi_hot(subs: Mapping[str, int], classes: Sequence[str], num_sub: int = 10) -> np.ndarray:
    """Turn sub-categories into float32 (K * num_sub,) with 1 where the image has one.

    Entry k * num_sub + s is sub-category s of foreground class k.
    """
    foreground = list(classes[1:])
    label: np.ndarray = np.zeros((len(foreground), num_sub), dtype=np.float32)
    for name, sub in subs.items():
        label[foreground.index(name), sub] = 1.0
    return label.reshape(-1)


def in_order(
    names: Iterable[str],
    foreground: Sequence[str],
    where: str,
    report: ReportFault = raise_fault,
    hint: str | None = None,
) -> list[str]:
    """Return class names in the order of the foreground classes, each once.

    Args:
        names: Names that somebody wrote down.
        foreground: The classes of the data set, without the background.
        where: Where the names stand, for the sentence about one that is no class.
        report: What to do with it; it is left out.
        hint: What to do where no class has a similar name; None lists the classes.
    """
    names = list(names)
    for name in names:
        if name not in foreground:
            near = nearest_name(name, foreground)
            other = hint or f"the classes are {', '.join(foreground)}."
            advice = f"did you mean {beside(near, name)}?" if near else other
            report("unknown class", f"Unknown class {beside(name, near)} in {where}: {advice}")
    return [name for name in foreground if name in names]


class JSONObject:
    """A JSON object that still has the keys which stand in it twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def parse_json_object(data: str | bytes, path: str | Path, other: str) -> list[tuple[str, Any]]:
    """Return keys and values of a JSON object; objects in it are :class:`JSONObject`.

    Raises:
        ValueError: If it is malformed, an annotation tool's, or other JSON: with the sentence
            ``other``.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=JSONObject)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Malformed JSON in '{path}': {error}.") from error
    refuse_annotations(value, path)
    if not isinstance(value, JSONObject):
        raise ValueError(other)
    return value.pairs


def _read_bytes(path: Path, what: str, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{what} '{path}' cannot be read ({error.strerror}): {hint}.") from error


def _write_table(path: str | Path, table: Mapping[str, Any]) -> None:
    lines = (
        f"  {json.dumps(img_id)}: {json.dumps(entry, ensure_ascii=False)}"
        for img_id, entry in table.items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _read_table(path: Path, report: ReportFault) -> dict[str, list[str]]:
    """Read ``{id: [names]}``; an id may carry the suffix of its image file."""
    hint = 'give a JSON file {"image id": ["class", ...]} or a folder of VOC annotations'
    data = _read_bytes(path, "Image labels", hint)
    form = f'\'{path}\' must hold one JSON object {{"image id": ["class", ...]}}'
    table: dict[str, list[str]] = {}
    for key, names in parse_json_object(data, path, f"{form}, got another JSON value."):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            report("labels file", f"{form}, but the value of '{key}' is not a list of class names.")
            continue
        stem, dot, suffix = key.rpartition(".")
        img_id = stem if dot and f".{suffix.lower()}" in _IMAGE_SUFFIXES else key
        if img_id in table:
            report("labels file", f"'{path}' names the image '{img_id}' twice: keep one entry.")
        table[img_id] = [clean_name(name) for name in names]
    return table


class _NoDoctypeBuilder(ElementTree.TreeBuilder):
    """Build a tree, and refuse a document type before any of its entities is read."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("declares a DOCTYPE, which annotations never need")


def read_xml(path: str | Path) -> ElementTree.Element:
    """Return the root of an XML file, which may come from anywhere.

    Raises:
        ValueError: If it cannot be read, is malformed, or declares a document type.
    """
    path = Path(path)
    data = _read_bytes(path, "Annotation", "every image of the list needs one XML file there")
    parser = ElementTree.XMLParser(target=_NoDoctypeBuilder())
    try:
        return ElementTree.fromstring(data, parser=parser)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"Malformed annotation '{path}': {error}.") from error


def _names_in_xml(path: Path, difficult: str) -> tuple[list[str], bool]:
    """Return the object names of an annotation and whether difficult ones were dropped."""
    root = read_xml(path)
    names, dropped = [], False
    for node in root.iter("object"):
        mark = (node.findtext("difficult") or "0").strip()
        if mark not in ("0", "1") and difficult == "drop":
            raise ValueError(
                f"Malformed annotation '{path}': <difficult> must be 0 or 1, got '{mark[:20]}'."
            )
        if difficult == "drop" and mark == "1":
            dropped = True
            continue
        # Only the object's own name: VOC person layouts nest <part><name>head</name></part>.
        names.append(clean_name(node.findtext("name") or ""))
    return [name for name in names if name], dropped


def _check_sub(
    subs: Mapping[str, Any] | None,
    names: Collection[str],
    num_sub: int,
    known: Collection[str],
    where: str,
) -> dict[str, int]:
    """Check the sub-categories of one image against its classes."""
    if subs is None:
        raise ValueError(f"Image without sub-categories: {where} has no entry; cluster again.")
    for name in names:
        if name not in subs:
            raise ValueError(f"{where}: class '{name}' has no sub-category; cluster again.")
    for name, sub in subs.items():
        if name not in names and name not in known:
            raise ValueError(
                f"{where}: the image has a sub-category of '{name}', but not the class itself; "
                "cluster again with the image labels of this data set."
            )
        if type(sub) is not int or not 0 <= sub < num_sub:
            raise ValueError(
                f"{where}: the sub-category of '{name}' must be a whole number from 0 to "
                f"{num_sub - 1} (num_sub={num_sub}), got {sub!r}."
            )
    return {name: subs[name] for name in names}

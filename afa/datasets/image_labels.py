"""Read image-level labels: which classes an image has, nothing about where they are.

Two sources: a JSON file ``{"image id": ["class name", ...]}``, or a folder of VOC annotations
(``<image id>.xml``). Both may come from strangers: JSON is data by nature, and an XML file that
declares a document type (the door to entity attacks) is refused.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from afa.files.whole_file import write_text
from afa.utils.problems import Report, refuse

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_DIFFICULT = ("keep", "drop")


class _NoDoctypeBuilder(ElementTree.TreeBuilder):
    """Build a tree, and refuse a document type before any of its entities is read."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("declares a DOCTYPE, which annotations never need")


def labels_from_xml(
    path: str | Path,
    classes: Sequence[str],
    difficult: str = "keep",
    report: Report = refuse,
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
    if difficult not in _DIFFICULT:
        raise ValueError(f"difficult must be 'keep' or 'drop', got '{difficult}'.")
    names, dropped = _read_xml(Path(path), difficult)
    if not names:
        reason = (
            f"only difficult objects in '{path}'; use difficult='keep'"
            if dropped
            else f"no <object> with a <name> in '{path}'; mend it"
        )
        report(
            "photo without labels",
            f"Image without labels: {reason} or take the image off the list.",
        )
    return _checked(names, classes, str(path), report)


def load_image_labels(
    path: str | Path,
    classes: Sequence[str],
    img_ids: Iterable[str],
    difficult: str = "keep",
    known: Collection[str] = (),
    report: Report = refuse,
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
    table = {} if path.is_dir() else _read_json(path, report)
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
        labels[img_id] = _checked(table.get(img_id, []), every, f"{path}: {img_id}", report)
    return {img_id: [name for name in names if name in classes] for img_id, names in labels.items()}


def labelled_ids(path: str | Path) -> set[str]:
    """Name all images that a JSON file or a folder of VOC annotations has labels for.

    Raises:
        ValueError: If the JSON file is missing or malformed.
    """
    path = Path(path)
    if path.is_dir():
        return {annotation.stem for annotation in path.glob("*.xml")}
    return set(_read_json(path, report=lambda *_: None))


def write_image_labels(path: str | Path, labels: Mapping[str, Sequence[str]]) -> None:
    """Write image labels as the JSON that :func:`load_image_labels` reads, one image per line.

    Args:
        path: The file; it is there whole or not at all.
        labels: Image id to class names.

    Raises:
        OSError: If the file cannot be written.
    """
    lines = (
        f"  {json.dumps(img_id)}: {json.dumps(list(names), ensure_ascii=False)}"
        for img_id, names in labels.items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def to_multi_hot(names: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Turn class names into a vector with 1 where the image has the class.

    Args:
        names: Class names of one image.
        classes: Classes of the data set, background first.

    Returns:
        float32 array (K,); entry 0 is the first foreground class.

    Raises:
        ValueError: If a name is not a foreground class.
    """
    foreground = list(classes[1:])
    label: np.ndarray = np.zeros(len(foreground), dtype=np.float32)
    for name in names:
        if name not in foreground:
            raise ValueError(_unknown(name, foreground, "labels"))
        label[foreground.index(name)] = 1.0
    return label


def _unknown(name: str, foreground: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(name, foreground, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"the classes are {', '.join(foreground)}."
    return f"Unknown class '{name}' in {where}: {hint}"


def _checked(names: Iterable[str], classes: Sequence[str], where: str, report: Report) -> list[str]:
    """Return the names in the order of the classes, each once; report unknown ones."""
    foreground = list(classes[1:])
    for name in names:
        if name not in foreground:
            report("unknown class", _unknown(name, foreground, f"'{where}'"))
    found = set(names)
    return [name for name in foreground if name in found]


def _read_xml(path: Path, difficult: str) -> tuple[list[str], bool]:
    """Return the object names of an annotation and whether difficult ones were dropped."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"Annotation '{path}' cannot be read ({error.strerror}): "
            "every image of the list needs one XML file there."
        ) from error
    parser = ElementTree.XMLParser(target=_NoDoctypeBuilder())
    try:
        root = ElementTree.fromstring(data, parser=parser)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"Malformed annotation '{path}': {error}.") from error
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
        name = (node.findtext("name") or "").strip()
        if name:
            names.append(name)
    return names, dropped


def _read_json(path: Path, report: Report = refuse) -> dict[str, list[str]]:
    """Read ``{id: [names]}``; an id may carry the suffix of its image file."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    except OSError as error:
        raise ValueError(
            f"Image labels '{path}' cannot be read ({error.strerror}): give a JSON file "
            '{"image id": ["class", ...]} or a folder of VOC annotations.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Malformed JSON in '{path}': {error}.") from error
    form = f'\'{path}\' must hold one JSON object {{"image id": ["class", ...]}}'
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise ValueError(f"{form}, got another JSON value.")
    table: dict[str, list[str]] = {}
    for key, names in pairs:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            report("labels file", f"{form}, but the value of '{key}' is not a list of class names.")
            continue
        stem, dot, suffix = key.rpartition(".")
        img_id = stem if dot and f".{suffix.lower()}" in _IMAGE_SUFFIXES else key
        if img_id in table:
            report("labels file", f"'{path}' names the image '{img_id}' twice: keep one entry.")
        table[img_id] = names
    return table

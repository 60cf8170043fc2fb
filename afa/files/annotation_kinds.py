"""The forms of annotation tools, and how each is told from the labels that are read here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = {
    "coco": "COCO JSON",
    "cvat": "CVAT for images (XML)",
    "label-studio": "Label Studio (JSON)",
    "labelme": "labelme (JSON)",
    "voc": "Pascal VOC (XML)",
    "csv": "CSV with one column for each class",
    "fiftyone": "label maps with mask_targets.json (FiftyOne)",
    "folders": "a folder of photos for each class",
}
COMMAND = "tools/dataset_converters/annotations.py"


def kind_of_json(value: Any) -> str | None:
    """Tell by its keys which tool has written some JSON.

    Args:
        value: What it holds; objects are dicts, or have ``pairs`` of keys and values.

    Returns:
        A key of :data:`KINDS`; None where it is something else.
    """
    listed = isinstance(value, list)
    one = value[0] if listed and value else value
    keys = {key for key, _ in one.pairs} if hasattr(one, "pairs") else set()
    keys |= one.keys() if isinstance(one, dict) else set()
    if {"data", "annotations"} <= keys or {"data", "predictions"} <= keys:
        return "label-studio"
    if listed:
        return "label-studio" if "annotation_id" in keys else None
    if "images" in keys and keys & {"annotations", "categories"}:
        return "coco"
    return "labelme" if {"shapes", "imagePath"} <= keys else None


def refuse_annotations(value: Any, path: str | Path) -> None:
    """Refuse JSON of an annotation tool where labels of photos belong.

    Raises:
        ValueError: With the command that makes labels of it.
    """
    kind = kind_of_json(value)
    if kind is None:
        return
    name, rename = str(path), ""
    if Path(path).name == "labels.json":
        name = str(Path(path).with_name("annotations.json"))
        rename = f"rename it to '{name}' and "
    raise ValueError(
        f"'{path}' is an export of an annotation tool, {KINDS[kind]}: {rename}make labels.csv of "
        f"it with `python {COMMAND} '{name}'`."
    )

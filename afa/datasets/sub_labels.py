"""Read and write sub-category labels: which sub-category of each of its classes an image shows.

One JSON file ``{"image id": {"class name": index, ...}}``, made by clustering (SC-CAM).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afa.files.whole_file import write_text

SubLabels = dict[str, dict[str, int]]


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
    table = _read(Path(path))
    return {
        img_id: _checked(table.get(img_id), names, num_sub, known, f"'{img_id}' in '{path}'")
        for img_id, names in labels.items()
    }


def write_sub_labels(path: str | Path, table: Mapping[str, Mapping[str, int]]) -> None:
    """Write the JSON that :func:`load_sub_labels` reads, one image per line, whole or not at all.

    Args:
        path: The file.
        table: Image id to {class name: sub-category}.

    Raises:
        OSError: If the file cannot be written.
    """
    lines = (
        f"  {json.dumps(img_id)}: "
        + json.dumps({name: int(sub) for name, sub in subs.items()}, ensure_ascii=False)
        for img_id, subs in table.items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def name_sub_labels(img_ids: Sequence[str], classes: Sequence[str], sub: np.ndarray) -> SubLabels:
    """Give the result of the clustering its names.

    Args:
        img_ids: n image ids.
        classes: Classes of the data set, background first.
        sub: (n, K) int, -1 where an image does not have a class.

    Returns:
        Image id to {class name: sub-category}.
    """
    foreground = classes[1:]
    return {
        img_id: {foreground[k]: int(row[k]) for k in np.flatnonzero(row >= 0).tolist()}
        for img_id, row in zip(img_ids, sub, strict=True)
    }


def sub_multi_hot(subs: Mapping[str, int], classes: Sequence[str], num_sub: int = 10) -> np.ndarray:
    """Turn sub-categories into a vector with 1 where the image has one.

    Args:
        subs: Class name to sub-category 0..num_sub-1, of one image.
        classes: Classes of the data set, background first.
        num_sub: Sub-categories of a class.

    Returns:
        float32 array (K * num_sub,); entry k * num_sub + s is sub-category s of foreground class k.
    """
    foreground = list(classes[1:])
    label: np.ndarray = np.zeros((len(foreground), num_sub), dtype=np.float32)
    for name, sub in subs.items():
        label[foreground.index(name), sub] = 1.0
    return label.reshape(-1)


def _read(path: Path) -> dict[str, Any]:
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    except OSError as error:
        raise ValueError(
            f"Sub-category labels '{path}' cannot be read ({error.strerror}): give the JSON file "
            '{"image id": {"class": index}} that the clustering has written.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Malformed JSON in '{path}': {error}.") from error
    table: dict[str, Any] = {}
    for key, value in _pairs(pairs, f"'{path}'"):
        if key in table:
            raise ValueError(f"'{path}' names the image '{key}' twice: keep one entry.")
        table[key] = dict(_pairs(value, f"the entry of '{key}' in '{path}'"))
    return table


def _pairs(value: Any, where: str) -> list[tuple[str, Any]]:
    """Check that a value was a JSON object, which is read as a list of pairs."""
    if not isinstance(value, list) or not all(isinstance(pair, tuple) for pair in value):
        raise ValueError(
            f'{where} must be a JSON object: the form is {{"image id": {{"class": index}}}}.'
        )
    return value


def _checked(
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

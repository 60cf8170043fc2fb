import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ("background", "cat", "dog", "bus")


def annotation(*objects: tuple[str, int]) -> str:
    """VOC XML of (name, difficult) pairs."""
    body = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>x.jpg</filename>{body}</annotation>"


@pytest.fixture
def xml_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "image.xml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A data set of three images: a has cat, b has dog and bus, c has dog."""
    labels = {"a": ["cat"], "b": ["bus", "dog"], "c": ["dog"]}
    for folder in ("img", "mask", "xml"):
        (tmp_path / folder).mkdir()
    for value, (img_id, names) in enumerate(labels.items(), start=1):
        image = np.full((6, 8, 3), 40 * value, np.uint8)
        cv2.imwrite(str(tmp_path / "img" / f"{img_id}.jpg"), image)
        cv2.imwrite(str(tmp_path / "mask" / f"{img_id}.png"), np.full((6, 8), value, np.uint8))
        text = annotation(*[(name, 0) for name in names])
        (tmp_path / "xml" / f"{img_id}.xml").write_text(text)
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "split.txt").write_text("b\na\n")
    return tmp_path

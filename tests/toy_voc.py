"""A made-up VOCdevkit with SBD: every format is the real one, every picture tiny."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from afa.datasets.prepare.voc12_sources import VOC12Sources, find_sources

PALETTE = [value for label in range(256) for value in (label, 255 - label, 7)]


def write_mask(path: Path, label: np.ndarray) -> None:
    """An indexed PNG, in colours unlike VOC's."""
    image = Image.fromarray(label.astype(np.uint8))
    image.putpalette(PALETTE)
    image.save(path)


def write_mat(path: Path, label: np.ndarray) -> None:
    """SBD's form: a struct GTcls with three fields."""
    content = dict(
        Boundaries=np.zeros((20, 1)),
        Segmentation=label,
        CategoriesPresent=np.unique(label[label > 0]).astype(float)[:, None],
    )
    savemat(path, {"GTcls": content}, do_compression=True)


def mask(*values: int, height: int = 6) -> np.ndarray:
    """Columns of 2 pixels with one value each, 8 pixels in all; 0 behind them."""
    label = np.zeros((height, 8), np.uint8)
    for column, value in enumerate(values):
        label[:, 2 * column : 2 * column + 2] = value
    return label


@dataclass
class VOCTree:
    """A made-up VOCdevkit and SBD, and what is expected of them."""

    folder: Path
    # id: (height, objects as (name, difficult), VOC's mask, SBD's mask)
    images: dict[str, tuple] = field(
        default_factory=lambda: {
            "2007_000001": (6, [("dog", 0), ("person", 1)], mask(12, 255), mask(12, 15)),
            "2007_000002": (7, [("sheep", 0), ("sheep", 0)], mask(17, height=7), None),
            "2007_000003": (6, [("tvmonitor", 0)], mask(255, 20), mask(3)),
            "2007_000004": (6, [("aeroplane", 0)], mask(1), mask(1)),
            "2008_000001": (9, [("chair", 0), ("cat", 0)], None, mask(9, 0, 8, height=9)),
            "2008_000002": (6, [("bird", 1)], None, mask(3, 20)),
        }
    )

    @property
    def voc(self) -> Path:
        return self.folder / "VOCdevkit" / "VOC2012"

    @property
    def sbd(self) -> Path:
        return self.folder / "SBD" / "benchmark_RELEASE" / "dataset"

    def sources(self, **kwargs: object) -> VOC12Sources:
        return find_sources(self.voc, **(kwargs or dict(sbd=self.sbd)))

    def make(self) -> None:
        for name in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
            (self.voc / name).mkdir(parents=True)
        (self.sbd / "cls").mkdir(parents=True)
        for img_id, (height, objects, voc_mask, sbd_mask) in self.images.items():
            self.write_photo(img_id, height)
            self.write_xml(img_id, objects)
            if voc_mask is not None:
                write_mask(self.voc / "SegmentationClass" / f"{img_id}.png", voc_mask)
            if sbd_mask is not None:
                write_mat(self.sbd / "cls" / f"{img_id}.mat", sbd_mask)
        self.write_photo("2009_000009", 6)
        lists = self.voc / "ImageSets" / "Segmentation"
        (lists / "train.txt").write_text("2007_000001\n2007_000002\n")
        (lists / "val.txt").write_text("2007_000004\n2007_000003\n")
        (lists / "test.txt").write_text("2009_000009\n")
        (self.sbd / "train.txt").write_text("2008_000002\n2007_000003\n2007_000001\n")
        (self.sbd / "val.txt").write_text("2008_000001\n2007_000004\n")

    def write_photo(self, img_id: str, height: int) -> None:
        path = self.voc / "JPEGImages" / f"{img_id}.jpg"
        cv2.imwrite(str(path), np.full((height, 8, 3), 90, np.uint8))

    def write_xml(self, img_id: str, objects: list[tuple[str, int]]) -> None:
        nodes = "".join(
            f"<object><name>{name}</name><part><name>head</name></part>"
            f"<difficult>{difficult}</difficult></object>"
            for name, difficult in objects
        )
        path = self.voc / "Annotations" / f"{img_id}.xml"
        path.write_text(f"<annotation><filename>{img_id}.jpg</filename>{nodes}</annotation>")

"""A made-up COCO 2014: tiny photos, and annotations as the real one has them, and worse."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from afa.datasets.coco14 import CLASSES

# The ids that COCO left out; those of the 80 categories are the others of 1..90.
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
IDS = [number for number in range(1, 91) if number not in GAPS]
CATEGORIES = [
    dict(id=number, name=name, supercategory="x")
    for number, name in zip(IDS, CLASSES[1:], strict=True)
]
PERSON, DOG, SHEEP, CUP, TABLE, TOOTHBRUSH = 1, 18, 20, 47, 67, 90
HEIGHT, WIDTH = 30, 40


def box(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """A rectangle as a ring."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def runs(*blocks: tuple[int, int, int, int], compressed: bool = False) -> dict:
    """Rectangles (y0, y1, x0, x1) as runs, column by column."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y0, y1, x0, x1 in blocks:
        mask[y0:y1, x0:x1] = 1
    if compressed:
        code = mask_utils.encode(np.asfortranarray(mask))
        return dict(size=[HEIGHT, WIDTH], counts=code["counts"].decode())
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=2))
    return dict(size=[HEIGHT, WIDTH], counts=np.diff(ends, prepend=0).tolist())


def annotation(image_id: int, category_id: int, segmentation, iscrowd: int = 0) -> dict:
    return dict(
        image_id=image_id, category_id=category_id, segmentation=segmentation, iscrowd=iscrowd
    )


ANNOTATIONS = {
    "train": [
        # 1: a cup on its table, named before it; a second person as large as the first.
        annotation(1, CUP, [box(10, 8, 18.5, 20.2)]),
        annotation(1, TABLE, [box(2, 4, 33, 27), box(36, 20, 39, 29)]),
        annotation(1, PERSON, [box(24, 0, 30, 10)]),
        annotation(1, SHEEP, [box(26, 2, 32, 12)]),
        # 2: crowds of two forms; the small one lies inside of the dog, which stays on top.
        annotation(2, PERSON, runs((0, 20, 0, 25), (25, 30, 0, 5)), iscrowd=1),
        annotation(2, DOG, [box(5, 5, 30, 28)]),
        annotation(2, SHEEP, runs((10, 14, 20, 36), compressed=True), iscrowd=1),
        # 4: what encloses nothing, or next to nothing.
        annotation(4, TOOTHBRUSH, [[3, 3, 9, 9], [5, 5], []]),
        annotation(4, CUP, [[1, 1, 1, 1], [7, 7, 7, 7, 7, 7], box(20, 20, 21, 21)]),
        annotation(4, DOG, []),
        annotation(4, PERSON, [box(-3, 25, 12, 33), [15, 15, 25, 15, 20, 15]]),
        # 5: nothing but what covers no pixel.
        annotation(5, TOOTHBRUSH, [[8, 8, 8, 8, 8, 8]]),
    ],
    "val": [
        annotation(7, DOG, runs((3, 9, 3, 30))),
        annotation(7, DOG, [box(1, 1, 12, 12)]),
        annotation(7, PERSON, runs((0, 30, 0, 40)), iscrowd=1),
    ],
}
IMAGES = {"train": [5, 1, 3, 2, 4], "val": [8, 7]}  # 3 and 8 have no objects
NAMES = {
    "COCO_train2014_000000000001": ["person", "sheep", "cup", "dining table"],
    "COCO_train2014_000000000002": ["person", "dog", "sheep"],
    "COCO_train2014_000000000004": ["person", "dog", "cup", "toothbrush"],
    "COCO_train2014_000000000005": ["toothbrush"],
    "COCO_val2014_000000000007": ["person", "dog"],
}


def content(split: str) -> dict:
    """The annotations of a split, as COCO has them; a new copy with each call."""
    images = [
        dict(
            id=number,
            file_name=f"COCO_{split}2014_{number:012d}.jpg",
            height=HEIGHT,
            width=WIDTH,
        )
        for number in IMAGES[split]
    ]
    made = dict(
        info=dict(year=2014),
        images=images,
        licenses=[],
        annotations=[
            dict(item, id=index, area=1.0, bbox=[0, 0, 1, 1])
            for index, item in enumerate(ANNOTATIONS[split])
        ],
        categories=list(reversed(CATEGORIES)),
    )
    return json.loads(json.dumps(made))


def write_annotations(root: Path, split: str, made: dict) -> Path:
    path = root / "annotations" / f"instances_{split}2014.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made))
    return path


def write_coco(root: Path) -> Path:
    """Write both splits; the photo of image 2 has an EXIF rotation."""
    for split in ("train", "val"):
        made = content(split)
        write_annotations(root, split, made)
        (root / f"{split}2014").mkdir()
        for image in made["images"]:
            photo = Image.new("RGB", (WIDTH, HEIGHT), (image["id"] * 20, 100, 0))
            exif = Image.Exif()
            if image["id"] == 2:
                exif[0x0112] = 6  # turn by 90 degrees
            photo.save(root / f"{split}2014" / image["file_name"], exif=exif)
    return root


def render(made: dict, image: dict, crowd: str = "class") -> np.ndarray:
    """Draw a label map from the top down, ring by ring, by other means than the converter."""
    height, width = image["height"], image["width"]
    labels = {item["id"]: 0 for item in made["categories"]}
    for label, number in enumerate(sorted(labels), start=1):
        labels[number] = label
    layers = []
    for item in made["annotations"]:
        if item["image_id"] != image["id"]:
            continue
        shape, mask = item["segmentation"], np.zeros((height, width), bool)
        if isinstance(shape, list):
            for ring in shape:
                if len(ring) >= 6:
                    mask |= mask_utils.decode(mask_utils.frPyObjects([ring], height, width))[
                        ..., 0
                    ].astype(bool)
        elif isinstance(shape["counts"], str):
            mask = mask_utils.decode(dict(shape, counts=shape["counts"].encode())).astype(bool)
        else:
            mask = mask_utils.decode(mask_utils.frPyObjects(shape, height, width)).astype(bool)
        value = 255 if item["iscrowd"] and crowd == "ignore" else labels[item["category_id"]]
        layers.append((item["iscrowd"], mask.sum(), len(layers), value, mask))
    out, free = np.zeros((height, width), np.uint8), np.ones((height, width), bool)
    for _, _, _, value, mask in sorted(layers, key=lambda layer: layer[:3]):
        out[free & mask] = value
        free &= ~mask
    return out

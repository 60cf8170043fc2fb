"""Three photos, marked in each annotation tool, as their exports are described."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from afa.files.mask_shapes import write_brush_runs, write_cvat_runs

HEIGHT, WIDTH = 16, 20
PHOTOS = ["a b.jpg", "sub/c.png", "d.jpg"]
# On the first photo a cat, and over it a dog; on the second a dog; nothing is on the third.
CAT, DOG = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
CAT[2:12, 3:15] = True
DOG[8:14, 10:18] = True
CAT_RING = [3, 2, 15, 2, 15, 12, 3, 12]
DOG_RING = [10, 8, 18, 8, 18, 14, 10, 14]
# A mask with the labels of classes in the order of the alphabet.
FIRST = np.where(DOG, 2, CAT).astype(np.uint8)
SECOND = np.where(DOG, 2, 0).astype(np.uint8)


def write_photos(folder: Path, names=PHOTOS) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 0)).save(folder / name)


def write(path: Path, content) -> Path:
    """Write text, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def pairs(ring):
    return [[ring[i], ring[i + 1]] for i in range(0, len(ring), 2)]


def counts(pixels):
    """Runs of a mask, column by column."""
    flat = pixels.T.ravel().astype(int)
    return np.diff(np.flatnonzero(np.diff(flat, prepend=0, append=2)), prepend=0).tolist()


def coco() -> dict:
    """COCO with ids from 0, back-slashes, no iscrowd, an image twice, a category without object."""
    size = dict(width=WIDTH, height=HEIGHT)
    runs = dict(size=[HEIGHT, WIDTH], counts=counts(DOG))
    return dict(
        categories=[dict(id=i, name=n) for i, n in enumerate(["dog", "animals", "cat"])],
        images=[
            dict(id=0, file_name="a b.jpg", **size),
            dict(id=1, file_name="sub\\c.png", **size),
            dict(id=7, file_name="a b.jpg", **size),
            dict(id=3, file_name="d.jpg", **size),
        ],
        annotations=[
            dict(id=0, image_id=7, category_id=0, segmentation=[DOG_RING]),
            dict(id=1, image_id=0, category_id=2, segmentation=[CAT_RING]),
            dict(id=2, image_id=1, category_id=0, segmentation=runs, bbox=[0, 0, 1, 1]),
        ],
    )


def cvat() -> str:
    points = ";".join(f"{x}.00,{y}.00" for x, y in pairs(CAT_RING))
    ring = ";".join(f"{x},{y}" for x, y in pairs(DOG_RING))
    runs = " ".join(f'{key}="{value}"' for key, value in write_cvat_runs(DOG).items())
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>cat</name><color>#fa3253</color></label><label><name>dog</name></label>
</labels></task></meta>
<image id="0" name="a b.jpg" {size}>
  <polygon label="dog" source="manual" occluded="0" points="{ring}" z_order="1"></polygon>
  <polygon label="cat" source="manual" occluded="0" points="{points}" z_order="0">
    <attribute name="age">3</attribute></polygon>
  <tag label="cat" source="manual"></tag>
</image>
<image id="1" name="sub/c.png" {size}><mask label="dog" occluded="0" {runs} z_order="0"/></image>
<image id="2" name="d.jpg" {size}></image>
</annotations>"""


def label_studio() -> list:
    """Tasks: uploaded, from local storage, and one that nobody has marked."""
    size = dict(original_width=WIDTH, original_height=HEIGHT, image_rotation=0)
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in pairs(CAT_RING)]

    def result(kind, value):
        return dict(id="x", type=kind, from_name="label", to_name="image", value=value, **size)

    brush = dict(format="rle", rle=write_brush_runs(DOG), brushlabels=["dog"])
    cat = dict(points=percent, closed=True, polygonlabels=["cat"])
    other = [result("rectanglelabels", dict(x=1, y=1, width=9, height=9, rectanglelabels=["ox"]))]
    return [
        dict(
            id=11,
            data=dict(image="/data/upload/1/0a1b2c3d-a_b.jpg"),
            annotations=[
                dict(id=1, result=[result("polygonlabels", cat), result("brushlabels", brush)]),
                dict(id=2, was_cancelled=True, result=other),
            ],
            predictions=[],
        ),
        dict(
            id=12,
            data=dict(image="/data/local-files/?d=set/sub/c.png"),
            annotations=[dict(id=3, result=[result("brushlabels", brush)])],
            predictions=[dict(result=other)],
        ),
        dict(id=13, data=dict(image="d.jpg"), annotations=[], predictions=[dict(result=other)]),
    ]


def labelme(name: str) -> dict:
    """The file of one photo; the dog is a mask on the first, a polygon on the second."""
    rows, columns = np.flatnonzero(DOG.any(1)), np.flatnonzero(DOG.any(0))
    box = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
    stream = io.BytesIO()
    Image.fromarray(DOG[8:14, 10:18].astype(np.uint8) * 255).save(stream, format="PNG")
    png = base64.b64encode(stream.getvalue()).decode()
    shapes = {
        "a b.jpg": [
            dict(label="cat", points=pairs(CAT_RING), shape_type="polygon", group_id=None),
            dict(label="dog", points=box, shape_type="mask", mask=png, flags={}),
        ],
        "sub/c.png": [dict(label="dog", points=pairs(DOG_RING))],
        "d.jpg": [],
    }[name]
    size = dict(imageHeight=HEIGHT, imageWidth=WIDTH)
    path = name.rpartition("/")[2]
    return dict(
        version="5.5", flags={"ok": False}, shapes=shapes, imagePath=path, imageData="", **size
    )


def voc(name: str, *objects: str) -> str:
    body = "".join(
        f"<object><name>{one}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>"
        "<ymax>5</ymax></bndbox></object>"
        for one in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>{name}</filename>{size}{body}</annotation>"


def write_annotations(kind: str, folder: Path) -> None:
    """Write photos and what a tool exports of them."""
    write_photos(folder)
    if kind == "coco":
        write(folder / "annotations/instances_default.json", coco())
    elif kind == "cvat":
        write(folder / "annotations.xml", cvat())
    elif kind == "label-studio":
        write(folder / "project-1-at-2026.json", label_studio())
    elif kind == "labelme":
        for name in PHOTOS:
            write((folder / name).with_suffix(".json"), labelme(name))
    elif kind == "voc":
        for name, objects in zip(PHOTOS, (["cat", "dog"], ["dog"], []), strict=True):
            path = Path("Annotations", Path(name).stem + ".xml")
            write(folder / path, voc(Path(name).name, *objects))
    elif kind == "csv":
        text = "filename, cat, dog\na b.jpg, 1, 1\nsub/c.png, 0, 1\nd.jpg, 0, 0\n"
        write(folder / "_classes.csv", text)
    elif kind == "fiftyone":
        write(folder / "mask_targets.json", {"0": "background", "1": "cat", "2": "dog"})
        (folder / "labels/sub").mkdir(parents=True)
        for name, label in zip(PHOTOS, (FIRST, SECOND, 0 * FIRST), strict=True):
            Image.fromarray(label).save((folder / "labels" / name).with_suffix(".png"))

"""The built-in data set Shapes, written and read in the layout of Pascal VOC."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from mmseg.registry import DATASETS

from afa.datasets.shapes_generator import CLASSES, PALETTE, SPLITS, ShapesSample, generate_sample
from afa.datasets.wsss_dataset import WSSSDataset, write_split
from afa.files.label_png import write_label_png
from afa.files.photo import write_picture
from afa.files.whole_file import read_json_object, write_json
from afa.utils.home import run_text

SETTINGS_FILE = "shapes.json"
LIST_FOLDER = "ImageSets/Segmentation"
FOLDERS = {"JPEGImages": ".jpg", "Annotations": ".xml", "SegmentationClassAug": ".png"}
_VERSION = 3  # raise when the same seed gives other pixels
# Entries above the classes are grey; 255 is near-white as in VOC.
_COLORS = PALETTE + [[grey] * 3 for grey in range(len(CLASSES), 255)] + [[224, 224, 192]]
_OWN_FILE = re.compile(rf"({'|'.join(SPLITS)})_\d{{5}}\.(jpg|xml|png)")


@DATASETS.register_module()
class ShapesDataset(WSSSDataset):
    """Read Shapes: background and six classes, in the layout of VOC."""

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE)
    prepare_hint = f"make the set with `{run_text('shapes')}`, or set data_root"


def write_shapes(
    out: str | Path,
    num_train: int = 800,
    num_val: int = 100,
    seed: int = 0,
    size: int = 96,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Generate the data set, unless it already stands there complete.

    The lists of the splits are written last: a set without them is not complete, and the next call
    makes it again.

    Args:
        out: Folder of the data set.
        num_train: Pictures in the training split.
        num_val: Pictures in the validation split.
        seed: Seed of the whole set; the same seed gives the same bytes.
        size: Mean side of the pictures in pixels.
        workers: Threads that draw.
        overwrite: Replace a Shapes set that was made with other settings.
        progress: Called with (done, total) after each picture.

    Returns:
        Whether anything was generated.

    Raises:
        ValueError: If a number is out of range, or ``out`` holds something else.
    """
    settings = _check_settings(num_train, num_val, seed, size, workers)
    root = Path(out)
    found = _read_settings(root)
    ids = {
        split: [f"{split}_{index:05d}" for index in range(count)]
        for split, count in (("train", num_train), ("val", num_val))
    }
    if found == settings and _is_complete(root, ids):
        return False
    if found is not None and found != settings and not overwrite:
        differing = ", ".join(
            f"{name} is {found.get(name)}, not {value}"
            for name, value in settings.items()
            if found.get(name) != value
        )
        raise ValueError(
            f"'{root}' holds a Shapes set made with other settings ({differing}): choose another "
            "folder, or add --overwrite."
        )
    _clear(root)
    for folder in (*FOLDERS, LIST_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_json(root / SETTINGS_FILE, settings)

    jobs = [(split, index) for split in SPLITS for index in range(len(ids[split]))]

    def work(job: tuple[str, int]) -> None:
        split, index = job
        _write_sample(root, ids[split][index], generate_sample(seed, split, index, size))

    with ThreadPoolExecutor(workers) as pool:
        try:
            for done, _ in enumerate(pool.map(work, jobs), start=1):
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for split in SPLITS:
        write_split(root / LIST_FOLDER / f"{split}.txt", ids[split])
    return True


def _check_settings(num_train: int, num_val: int, seed: int, size: int, workers: int) -> dict:
    """Check the ranges and return the settings that decide the bytes."""
    rules = (
        ("num-train", num_train, 1, 99999),
        ("num-val", num_val, 1, 99999),
        ("seed", seed, 0, 2**63 - 1),
        ("size", size, 48, 2048),
        ("workers", workers, 1, 256),
    )
    for name, value, low, high in rules:
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in {low}..{high}, got {value}.")
    counts = {"num_train": num_train, "num_val": num_val}
    return {"dataset": "Shapes", "version": _VERSION, "seed": seed, "size": size, **counts}


def _read_settings(root: Path) -> dict | None:
    """Return the settings of the set in ``root``, None for no set; refuse anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    found = read_json_object(root / SETTINGS_FILE)
    if found.get("dataset") != "Shapes":
        raise ValueError(
            f"'{root}' is not empty and not a Shapes set (no valid {SETTINGS_FILE} in it): "
            "choose another folder; this one is left as it is."
        )
    return found


def _is_complete(root: Path, ids: dict[str, list[str]]) -> bool:
    for split, names in ids.items():
        path = root / LIST_FOLDER / f"{split}.txt"
        if not path.is_file() or path.read_text(encoding="utf-8").split() != names:
            return False
        files = (root / key / f"{name}{end}" for key, end in FOLDERS.items() for name in names)
        if not all(file.is_file() for file in files):
            return False
    return True


def _clear(root: Path) -> None:
    """Remove an old set: its lists first, then the files that this module names."""
    for split in SPLITS:
        (root / LIST_FOLDER / f"{split}.txt").unlink(missing_ok=True)
    for folder in FOLDERS:
        if (root / folder).is_dir():
            for path in (root / folder).iterdir():
                if _OWN_FILE.fullmatch(path.name):
                    path.unlink()


def _write_sample(root: Path, name: str, sample: ShapesSample) -> None:
    """Write image, mask and annotation of one picture."""
    write_picture(root / "JPEGImages" / f"{name}.jpg", sample.image[..., ::-1])
    write_label_png(root / "SegmentationClassAug" / f"{name}.png", sample.mask, _COLORS)
    (root / "Annotations" / f"{name}.xml").write_bytes(_annotation(name, sample))


def _annotation(name: str, sample: ShapesSample) -> bytes:
    """Return the VOC annotation of one picture; VOC's boxes count from 1, both ends included."""
    height, width = sample.mask.shape
    root = ElementTree.Element("annotation")
    _add_texts(root, folder="Shapes", filename=f"{name}.jpg")
    _add_texts(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    _add_texts(root, segmented=1)
    for obj in sample.objects:
        y0, y1, x0, x1 = obj.box
        node = ElementTree.SubElement(root, "object")
        _add_texts(node, name=obj.name, difficult=0)
        box = ElementTree.SubElement(node, "bndbox")
        _add_texts(box, xmin=x0 + 1, ymin=y0 + 1, xmax=x1, ymax=y1)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"


def _add_texts(node: ElementTree.Element, **texts: object) -> None:
    for key, value in texts.items():
        ElementTree.SubElement(node, key).text = str(value)

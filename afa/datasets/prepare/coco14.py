"""Prepare MS COCO 2014: label maps, lists and image labels from its instance annotations.

The list of a split is written last: a split that has it is complete. Nothing is written but
``SegmentationClass``, ``ImageSets``, ``image_labels.json`` and ``coco14.json``, which remembers
what the label maps were made from (and links to the photos, where the set goes elsewhere).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from afa.datasets.coco14 import CLASSES
from afa.datasets.image_labels import load_image_labels, write_image_labels
from afa.datasets.prepare import MAX_FAULTS, aligned
from afa.datasets.prepare.coco14_instances import CocoImage, CocoInstances
from afa.datasets.wsss_dataset import read_split, without_file, write_split
from afa.files.coco_mask import CROWDS, ImageResult, draw_missing_mask
from afa.files.label_png import read_label_png
from afa.files.whole_file import read_json_object, write_json
from afa.utils.ordered_pool import OrderedPool

SPLITS = ("train", "val")
# Images of the whole set, and those of them that have objects.
NUM_IMAGES = {"train": (82783, 82081), "val": (40504, 40137)}
SETTINGS_FILE = "coco14.json"
_LABELS_FILE = "image_labels.json"
_VERSION = 1  # raise when the same annotations give other pixels
_MIN_FOR_WORKERS = 200  # images; fewer are done before workers have started


def prepare_coco14(
    root: str | Path,
    out: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    crowd: str = "class",
    workers: int = 0,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, SplitReport]:
    """Make the set, or what of it is not there yet, and check all of it.

    Label maps are kept if the record says that they were made from the same annotations with the
    same settings, and they are whole and of the right size.

    Args:
        root: Folder with ``annotations`` and the photos in ``train2014`` and ``val2014``.
        out: Folder of the prepared set; ``root`` itself if None.
        splits: ``'train'``, ``'val'`` or both.
        crowd: Pixels of crowd regions: ``'class'``, or ``'ignore'`` for 255.
        workers: Processes; 0 for none but this one.
        overwrite: Draw everything again, and replace files that were made otherwise.
        progress: Called with (split, done, total) after each image.

    Returns:
        What was found, for each split.

    Raises:
        ValueError: If something is missing, broken, or would be overwritten.
        OSError: If a file cannot be written.
    """
    root, target = Path(root), Path(root if out is None else out)
    _check_arguments(splits, crowd, workers)
    _check_inputs(root, splits)
    record = read_split_settings(target)
    if not overwrite:
        _check_others_work(target, splits, record)
    labels = _labels_of_others(target, splits, record)
    target.mkdir(parents=True, exist_ok=True)  # before minutes of reading
    instances = {split: CocoInstances(_annotations(root, split), CLASSES) for split in splits}
    for split in splits:
        _check_photos(instances[split], root / f"{split}2014")
        _add_labels(labels, instances[split])
    for split in splits:
        _make_folders(root, target, split)
        settings = split_settings(instances[split].sha256, crowd)
        if overwrite or record.get(split) != settings:
            _forget(instances[split].images, target, split)
            record[split] = settings
            write_json(target / SETTINGS_FILE, {"dataset": "COCO14", "splits": record})
    write_image_labels(target / _LABELS_FILE, labels)
    reports = {}
    for split in splits:
        photos, masks = root / f"{split}2014", _mask_folder(target, split)
        report = None if progress is None else partial(progress, split)
        job = partial(draw_missing_mask, photos=photos, masks=masks, crowd=crowd)
        reports[split] = _draw(instances[split], job, workers, report)
        img_ids = [image.img_id for image in instances[split].images]
        _check_drawn(masks, img_ids, instances[split])
        reports[split].images_per_class.update(n for img_id in img_ids for n in labels[img_id])
        write_split(_split_file(target, split), img_ids)
    return reports


def _annotations(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}2014.json"


def _split_file(target: Path, split: str) -> Path:
    return target / "ImageSets" / f"{split}.txt"


def _mask_folder(target: Path, split: str) -> Path:
    return target / "SegmentationClass" / f"{split}2014"


def _check_arguments(splits: Sequence[str], crowd: str, workers: int) -> None:
    if not splits or not set(splits) <= set(SPLITS):
        raise ValueError(f"splits must be of {', '.join(SPLITS)}, got {list(splits)}.")
    if crowd not in CROWDS:
        raise ValueError(f"crowd must be 'class' or 'ignore', got '{crowd}'.")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}: 0 starts none.")


def _check_inputs(root: Path, splits: Sequence[str]) -> None:
    """Look for files and folders before anything long begins."""
    for split in splits:
        for path in (_annotations(root, split), root / f"{split}2014"):
            if not path.exists():
                raise ValueError(
                    f"There is no '{path}': give the folder where train2014.zip, val2014.zip and "
                    "annotations_trainval2014.zip were unpacked, or name one split with --splits."
                )


def _check_others_work(target: Path, splits: Sequence[str], record: Mapping[str, dict]) -> None:
    """Refuse to replace what this command did not make."""
    paths = [] if record else [target / _LABELS_FILE]
    for split in splits:
        if split not in record:
            paths.append(_split_file(target, split))
            paths.extend(_mask_folder(target, split).glob("*.png"))
    for path in paths:
        if path.exists():
            raise ValueError(
                f"'{path}' is there already and was not made by this command: move it away or "
                "choose another folder with --out, or add --overwrite to replace it."
            )


def _labels_of_others(
    target: Path, splits: Sequence[str], record: Mapping[str, dict]
) -> dict[str, list[str]]:
    """Return the image labels of the splits that are complete and not made now."""
    labels: dict[str, list[str]] = {}
    for split in SPLITS:
        path = _split_file(target, split)
        if split in record and split not in splits and path.exists():
            labels |= load_image_labels(target / _LABELS_FILE, CLASSES, read_split(path))
    return labels


def _check_photos(instances: CocoInstances, folder: Path) -> None:
    missing = without_file((image.img_id for image in instances.images), folder, ".jpg")
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(instances.images):,} photos are missing in '{folder}', the "
            f"first is '{missing[0]}.jpg': unpack the photos again, or take annotations that fit."
        )


def _add_labels(labels: dict[str, list[str]], instances: CocoInstances) -> None:
    """Add the image labels of a split to those of the others: one file is for all."""
    for image in instances.images:
        if image.img_id in labels:
            raise ValueError(
                f"'{instances.path}' has the image '{image.img_id}' of the other split: the "
                "splits must not share file names."
            )
        labels[image.img_id] = [CLASSES[label] for label in instances.labels(image)]


def _make_folders(root: Path, target: Path, split: str) -> None:
    """Make the folders of a split, and a link to its photos where the set goes elsewhere."""
    for path in (_mask_folder(target, split), _split_file(target, split).parent):
        path.mkdir(parents=True, exist_ok=True)
    photos, source = target / f"{split}2014", root / f"{split}2014"
    if not photos.exists():
        photos.symlink_to(source.resolve(), target_is_directory=True)
    elif not photos.samefile(source):
        raise ValueError(
            f"'{photos}' and '{source}' are two folders: the prepared set reads its photos from "
            "the first, so choose another --out or remove it."
        )


def _forget(images: Sequence[CocoImage], target: Path, split: str) -> None:
    """Remove what was made with other settings: the list first, it says that all is there.

    Without this, a run that is stopped would leave label maps of two kinds.
    """
    _split_file(target, split).unlink(missing_ok=True)
    for image in images:
        (_mask_folder(target, split) / f"{image.img_id}.png").unlink(missing_ok=True)


def _draw(
    instances: CocoInstances,
    job: Callable[..., ImageResult],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> SplitReport:
    """Do the job for every image; go on after a fault, so that one run finds them all."""
    images = instances.images
    report = SplitReport(
        instances.num_images,
        num_kept=len(images),
        num_annotations=instances.num_annotations,
        num_crowds=instances.num_crowds,
        regions_per_class=instances.count_regions(),
    )
    faults: list[str] = []
    with OrderedPool(job, workers if len(images) >= _MIN_FOR_WORKERS else 0) as pool:
        # A generator: only the annotations of images that wait are in memory.
        results = pool.map((*image[1:], instances.regions(image)) for image in images)
        for done, (image, result) in enumerate(zip(images, results, strict=True), start=1):
            report.num_made += result.made
            report.num_blank += result.num_blank
            if result.fault:
                faults.append(f"'{image.img_id}': {result.fault}")
            if progress is not None:
                progress(done, len(images))
            if len(faults) == MAX_FAULTS:
                break
    if faults:
        number = "At least " if len(faults) == MAX_FAULTS else ""
        raise ValueError(
            f"{number}{len(faults):,} of {len(images):,} images in '{instances.path}' are not fit, "
            f"the first is {faults[0]}: mend it and run again, what is done is kept."
        )
    return report


def _check_drawn(masks: Path, img_ids: Sequence[str], instances: CocoInstances) -> None:
    """Refuse label maps that are background alone; in others one of the first has an object."""
    if not any(read_label_png(masks / f"{img_id}.png").any() for img_id in img_ids):
        raise ValueError(
            f"None of the {instances.num_annotations:,} annotations in '{instances.path}' covers a "
            "pixel: outlines must be in pixels of the photo, not in parts of its size; take "
            "annotations with such outlines."
        )


def split_settings(sha256: str, crowd: str) -> dict:
    """Return what decides the pixels of a split: two runs with equal settings draw the same."""
    return {"version": _VERSION, "annotations_sha256": sha256, "crowd": crowd}


def read_split_settings(out: Path) -> dict[str, dict]:
    """Read the settings of each split that was made in a folder.

    Raises:
        ValueError: If there is a file of that name with something else.
    """
    path = out / SETTINGS_FILE
    splits = read_json_object(path).get("splits") if path.exists() else {}
    if not isinstance(splits, dict) or not all(isinstance(item, dict) for item in splits.values()):
        raise ValueError(
            f"'{path}' is not the record that this command keeps there: remove it, and add "
            "--overwrite to make the set again."
        )
    return splits


@dataclass
class SplitReport:
    """What was found in one split."""

    num_images: int  # of the annotation file
    num_kept: int  # those with objects
    num_annotations: int
    num_crowds: int  # those that outline a group
    num_made: int = 0  # label maps drawn in this run; the others were there already
    images_per_class: Counter[str] = field(default_factory=Counter)
    regions_per_class: Counter[str] = field(default_factory=Counter)
    num_blank: int = 0  # annotations that cover no pixel, of the label maps drawn in this run

    def text(self, split: str) -> str:
        """Return the figures of the split, and a sentence if they are not the published ones."""
        labels = self.images_per_class.total() / max(1, self.num_kept)
        lines = [
            f"{split}: {self.num_kept:,} images with objects "
            f"({self.num_images - self.num_kept:,} without are left out), "
            f"{self.num_annotations:,} annotations ({self.num_crowds:,} crowd regions), "
            f"{labels:.2f} classes per image; {self.num_made:,} label maps drawn, "
            f"{self.num_kept - self.num_made:,} were there already."
        ]
        if self.num_blank:
            lines.append(
                f"{split}: {self.num_blank:,} annotations of the label maps drawn now cover no "
                "pixel (boxes without an outline, or outlines that are too small): their classes "
                "count as image labels alone."
            )
        whole, with_objects = NUM_IMAGES.get(split, (0, 0))
        if self.num_images == whole and self.num_kept != with_objects:
            lines.append(
                f"{split}: the literature has {with_objects:,} images with objects, this file has "
                f"{self.num_kept:,}: it is not the published one."
            )
        return "\n".join(lines)


def class_table(reports: dict[str, SplitReport], classes: Sequence[str]) -> str:
    """Return a table of images and annotations per class, in the order of their labels."""
    rows = [["class", *(f"{name} {what}" for name in reports for what in ("images", "regions"))]]
    for label, name in enumerate(classes, start=1):
        row = [f"{label:2d} {name}"]
        for report in reports.values():
            row += [f"{report.images_per_class[name]:,}", f"{report.regions_per_class[name]:,}"]
        rows.append(row)
    return "\n".join(aligned(rows))

"""Prepare MS COCO 2014: label maps, lists and image labels from its instance annotations.

The list of a split is written last: a split that has it is complete. Nothing is written but
``SegmentationClass``, ``ImageSets``, ``image_labels.json`` and ``coco14.json``, which remembers
what the label maps were made from (and links to the photos, where the set goes elsewhere).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from afa.datasets.coco14 import CLASSES
from afa.datasets.image_labels import load_image_labels, write_image_labels
from afa.datasets.prepare.coco14_instances import CocoImage, CocoInstances
from afa.datasets.prepare.coco14_record import read_record, split_settings, write_record
from afa.datasets.prepare.coco14_report import SplitReport
from afa.datasets.split_file import read_split, write_split
from afa.files.coco_mask import CROWDS, ImageResult, prepare_image
from afa.utils.ordered_pool import OrderedPool

SPLITS = ("train", "val")
_LABELS_FILE = "image_labels.json"
_MIN_FOR_WORKERS = 200  # images; fewer are done before workers have started
_MAX_FAULTS = 100  # so many, and it is the wrong folder: the rest need not be looked at


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
    record = read_record(target)
    if not overwrite:
        _check_others_work(target, splits, record)
    labels = _labels_of_others(target, splits, record)
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
            write_record(target, record)
    write_image_labels(target / _LABELS_FILE, labels)
    reports = {}
    for split in splits:
        photos, masks = root / f"{split}2014", _mask_folder(target, split)
        report = None if progress is None else partial(progress, split)
        job = partial(prepare_image, photos=photos, masks=masks, crowd=crowd)
        reports[split] = _draw(instances[split], job, workers, report)
        img_ids = [image.img_id for image in instances[split].images]
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
    there = set(os.listdir(folder))
    names = (f"{image.img_id}.jpg" for image in instances.images)
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(instances.images):,} photos are missing in '{folder}', the "
            f"first is '{missing[0]}': unpack the photos again, or take annotations that fit."
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
    faults = []
    with OrderedPool(job, workers if len(images) >= _MIN_FOR_WORKERS else 0) as pool:
        results = pool.map(_work(instances))
        for done, (image, result) in enumerate(zip(images, results, strict=True), start=1):
            report.num_made += result.made
            if result.fault:
                faults.append(f"'{image.img_id}': {result.fault}")
            if progress is not None:
                progress(done, len(images))
            if len(faults) == _MAX_FAULTS:
                break
    if faults:
        number = "At least " if len(faults) == _MAX_FAULTS else ""
        raise ValueError(
            f"{number}{len(faults):,} of {len(images):,} images in '{instances.path}' are not fit, "
            f"the first is {faults[0]}: mend it and run again, what is done is kept."
        )
    return report


def _work(instances: CocoInstances) -> Iterator[tuple]:
    """Yield the arguments of the job, image by image: only what waits is in memory."""
    for image in instances.images:
        yield image.img_id, image.height, image.width, instances.regions(image)

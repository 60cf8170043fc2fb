"""Prepare MS COCO 2014: label maps, lists and image labels from its instance annotations.

The list of a split is written last: a split that has it is complete. Nothing is written but
``SegmentationClass``, ``ImageSets``, ``image_labels.json`` and ``coco14.json``, which remembers
what the label maps were made from (and links to the photos, where the set goes elsewhere).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from afa.datasets.coco14 import CLASSES
from afa.datasets.image_labels import load_image_labels, write_image_labels
from afa.datasets.prepare.coco14_instances import CocoImage, CocoInstances
from afa.datasets.prepare.coco14_record import read_record, split_settings, write_record
from afa.datasets.prepare.coco14_report import SplitReport
from afa.datasets.split_file import read_split, write_split
from afa.utils.coco_image import ImageResult, prepare_image
from afa.utils.coco_mask import CROWDS
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
    if crowd not in CROWDS:
        raise ValueError(f"crowd must be 'class' or 'ignore', got '{crowd}'.")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}: 0 starts none.")
    _check_inputs(root, splits)
    record = read_record(target)
    if not overwrite:
        _check_others_work(target, splits, record)
    labels = _labels_of_others(target, splits, record)
    instances = {split: CocoInstances(_annotations(root, split), CLASSES) for split in splits}
    for split in splits:
        _check_photos(instances[split], root / f"{split}2014")
    _check_ids_differ(labels, instances.values())
    reports = {}
    for split in splits:
        folder = _begin_split(root, target, split)
        settings = split_settings(instances[split].sha256, crowd)
        if overwrite or record.get(split) != settings:
            _forget(instances[split].images, target, split)
            record[split] = settings
            write_record(target, record)
        job = partial(prepare_image, photos=root / f"{split}2014", masks=folder, crowd=crowd)
        report = None if progress is None else partial(progress, split)
        reports[split] = _draw(instances[split], job, workers, report)
        _finish_split(instances[split], target, split, labels, reports[split])
    return reports


def _annotations(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}2014.json"


def _split_file(target: Path, split: str) -> Path:
    return target / "ImageSets" / f"{split}.txt"


def _mask_folder(target: Path, split: str) -> Path:
    return target / "SegmentationClass" / f"{split}2014"


def _check_inputs(root: Path, splits: Sequence[str]) -> None:
    """Look for files and folders before anything long begins."""
    if not splits or not set(splits) <= set(SPLITS):
        raise ValueError(f"splits must be of {', '.join(SPLITS)}, got {list(splits)}.")
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


def _check_ids_differ(labels: Mapping[str, list[str]], files: Iterable[CocoInstances]) -> None:
    """Refuse an image that two splits have: its labels stand in one file for both."""
    seen = set(labels)
    for instances in files:
        for image in instances.images:
            if image.img_id in seen:
                raise ValueError(
                    f"'{instances.path}' has the image '{image.img_id}' of the other split: the "
                    "splits must not share file names."
                )
            seen.add(image.img_id)


def _begin_split(root: Path, target: Path, split: str) -> Path:
    """Make the folders of a split, and a link to its photos where the set goes elsewhere."""
    folder = _mask_folder(target, split)
    for path in (folder, _split_file(target, split).parent):
        path.mkdir(parents=True, exist_ok=True)
    photos, source = target / f"{split}2014", root / f"{split}2014"
    if not photos.exists():
        photos.symlink_to(source.resolve(), target_is_directory=True)
    elif not photos.samefile(source):
        raise ValueError(
            f"'{photos}' and '{source}' are two folders: the prepared set reads its photos from "
            "the first, so choose another --out or remove it."
        )
    return folder


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
        instances.num_images, len(images), instances.num_annotations, instances.num_crowds
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


def _finish_split(
    instances: CocoInstances,
    target: Path,
    split: str,
    labels: dict[str, list[str]],
    report: SplitReport,
) -> None:
    """Count the classes, add the image labels of a split to the others, and write its list."""
    report.regions_per_class = instances.count_regions()
    for image in instances.images:
        names = [CLASSES[label] for label in instances.labels(image)]
        labels[image.img_id] = names
        report.images_per_class.update(names)
    write_image_labels(target / _LABELS_FILE, labels)
    write_split(_split_file(target, split), [image.img_id for image in instances.images])

"""Prepare PASCAL VOC 2012 with the masks of SBD: masks, lists and image labels.

Everything that is derived is checked, and the lists are written last: a set that has them is
complete. Nothing is written but ``SegmentationClassAug``, ``ImageSets/SegmentationAug`` and
``image_labels.json`` (and a link to the photos, where the set goes elsewhere).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from afa.datasets.image_labels import labels_from_xml, load_image_labels, write_image_labels
from afa.datasets.prepare import MAX_FAULTS, aligned
from afa.datasets.prepare.voc12_sources import (
    VOC12Sources,
    check_lists,
    derive_lists,
    find_missing,
    read_sbd_mask,
)
from afa.datasets.voc import VOC12Dataset
from afa.datasets.wsss_dataset import read_split, write_split
from afa.files.label_png import read_label_png, write_label_png
from afa.utils.ordered_pool import OrderedPool

CLASSES: tuple[str, ...] = VOC12Dataset.METAINFO["classes"]
IGNORE = 255
_NUM_SHOWN = 10  # faults that a message shows
_MADE = {"VOC": "from VOC", "SBD": "from SBD", "ready": "from ready ones", "": "were there already"}


def prepare_voc12(
    sources: VOC12Sources,
    difficult: str = "keep",
    overwrite: bool = False,
    allow_partial: bool = False,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> VOC12Report:
    """Make the set, or what of it is not there yet, and check all of it.

    Args:
        sources: Where things lie.
        difficult: ``'keep'`` or ``'drop'`` objects marked as difficult in the image labels.
        overwrite: Replace masks, lists and image labels that are there; otherwise masks are kept,
            and others lists and labels are an error.
        allow_partial: Take splits of any size, and leave out images that are not fit.
        workers: Processes; 0 for none but this one.
        progress: Called with (done, total) after each image.

    Returns:
        What was found.

    Raises:
        ValueError: If something is missing, broken, or not as published; all of it in one text.
        OSError: If a file cannot be written.
    """
    lists = derive_lists(sources)
    missing, lacking = find_missing(lists, sources)
    missing = [*check_lists(lists, sources), *missing]
    if missing and not allow_partial:
        title = "This is not the whole set (--allow-partial prepares what is there)"
        raise ValueError(fault_text(title, missing))
    report = VOC12Report(missing)
    img_ids = sorted({*lists["train_aug"], *lists["val"]} - lacking)
    _make_folders(sources)
    job = partial(make_mask_and_labels, sources=sources, difficult=difficult, overwrite=overwrite)
    with OrderedPool(job, workers) as pool:
        for image in pool.map((img_id,) for img_id in img_ids):
            report.add(image)
            if progress is not None:
                progress(len(report.images) + len(report.faults), len(img_ids))
            if len(report.faults) == MAX_FAULTS and not allow_partial:
                break
    bad = lacking | set(report.faults)
    kept = {name: [img_id for img_id in ids if img_id not in bad] for name, ids in lists.items()}
    report.lists = {name: ids for name, ids in kept.items() if ids}
    if (report.faults and not allow_partial) or not {"train_aug", "val"} <= set(report.lists):
        raise ValueError(_unfit_text(report, len(img_ids)))
    _write_lists(report, sources, overwrite)
    return report


def _make_folders(sources: VOC12Sources) -> None:
    """Make the folders of the set; where it goes elsewhere, a link stands for the photos."""
    for path in (sources.target("x"), sources.split("x")):
        path.parent.mkdir(parents=True, exist_ok=True)
    photos, source = sources.out / "JPEGImages", sources.root / "JPEGImages"
    if not photos.exists():
        photos.symlink_to(source.resolve(), target_is_directory=True)


def _unfit_text(report: VOC12Report, total: int) -> str:
    if not report.faults:
        return fault_text("No image is fit for train_aug or none for val", report.missing)
    number = f"{len(report.faults):,} of {total:,} images are not fit"
    if len(report.faults) == MAX_FAULTS:
        number = f"The first {MAX_FAULTS} images that are not fit, of {total:,}"
    title = f"{number} (mend them and run again, what is done is kept; or add --allow-partial)"
    return fault_text(title, report.faults.values())


def _write_lists(report: VOC12Report, sources: VOC12Sources, overwrite: bool) -> None:
    """Write image labels and lists, unless they are there; refuse to replace others."""
    labels = {img_id: list(image.names) for img_id, image in sorted(report.images.items())}
    wrong = [
        sources.split(name)
        for name, ids in report.lists.items()
        if _differs(sources.split(name), sorted(ids), lambda path: sorted(read_split(path)))
    ]
    path = sources.image_labels  # may hold further images
    if _differs(path, labels, lambda path: load_image_labels(path, CLASSES, labels)):
        wrong.append(path)
    if wrong and not overwrite:
        raise ValueError(
            f"'{wrong[0]}' is there already with another content than derived: move it away, or "
            "add --overwrite to replace lists, image labels and masks."
        )
    if overwrite or not path.exists():
        write_image_labels(path, labels)
    for name, ids in report.lists.items():
        if overwrite or not sources.split(name).exists():
            write_split(sources.split(name), ids)


def _differs(path: Path, content: Any, read: Callable[[Path], Any]) -> bool:
    """Tell whether a file is there with another content."""
    try:
        return path.exists() and read(path) != content
    except ValueError:
        return True


@dataclass(frozen=True)
class VOC12Image:
    """What one image turned out to be."""

    img_id: str
    fault: str = ""  # why it cannot be used, in one sentence; empty if it can
    made_from: str = ""  # 'VOC', 'SBD' or 'ready'; empty if its mask was there already
    names: tuple[str, ...] = ()  # classes of its annotation
    in_mask: tuple[str, ...] = ()  # classes of its mask
    only_difficult: bool = False  # so are all its objects; kept although asked to be dropped
    differs: bool = False  # its mask was there already and is another than VOC's own


def make_mask_and_labels(
    img_id: str, sources: VOC12Sources, difficult: str = "keep", overwrite: bool = False
) -> VOC12Image:
    """Read the labels of an image, make its mask unless it is there, and check what is there then.

    Returns:
        What was found; a fault of the input is part of it and not raised.

    Raises:
        OSError: If the mask cannot be written.
    """
    try:
        names, only_difficult = _read_labels(sources.annotation(img_id), difficult)
        size = _read_size(sources.photo(img_id))
        made_from = _make_mask(img_id, sources, size, overwrite)
        label = read_label_png(sources.target(img_id))
        _check_mask(label, size, sources.target(img_id))
        voc = None if made_from else dict(sources.mask_sources(img_id)).get("VOC")
        differs = voc is not None and not np.array_equal(read_label_png(voc), label)
    except ValueError as error:
        return VOC12Image(img_id, fault=str(error))
    in_mask = tuple(CLASSES[value] for value in np.unique(label) if 0 < value < len(CLASSES))
    return VOC12Image(img_id, "", made_from, tuple(names), in_mask, only_difficult, differs)


def _read_labels(path: Path, difficult: str) -> tuple[list[str], bool]:
    """Return the classes, and whether there are difficult objects only: those are kept.

    Training needs a label for every image, so that dropping them all would drop the image.
    """
    names = labels_from_xml(path, CLASSES)
    if difficult == "keep":
        return names, False
    try:
        return labels_from_xml(path, CLASSES, difficult), False
    except ValueError:  # nothing is left; the file itself has just been read
        return names, True


def _read_size(path: Path) -> tuple[int, int]:
    """Return the height and width of a photo from its header."""
    try:
        with Image.open(path) as photo:
            return photo.height, photo.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(f"Photo '{path}' cannot be read ({reason}): replace it.") from error


def _make_mask(img_id: str, sources: VOC12Sources, size: tuple[int, int], overwrite: bool) -> str:
    """Write the mask from its best source, checked before; return the name of the source."""
    target = sources.target(img_id)
    there = target.is_file()
    name, path = next(sources.mask_sources(img_id), ("", target))
    if there and (not overwrite or path.samefile(target)):
        return ""
    if not name:
        raise ValueError(
            f"There is no mask of '{img_id}' in VOC's SegmentationClass or in "
            f"'{sources.sbd or sources.masks}'."
        )
    label = read_sbd_mask(path) if name == "SBD" else read_label_png(path)
    _check_mask(label, size, path)
    write_label_png(target, label)
    return name


def _check_mask(label: np.ndarray, size: tuple[int, int], path: Path) -> None:
    if label.shape != size:
        (height, width), (rows, columns) = size, label.shape
        raise ValueError(
            f"Mask '{path}' has {columns}x{rows} pixels, its photo {width}x{height}: replace one."
        )
    wrong = [value for value in np.unique(label) if value >= len(CLASSES) and value != IGNORE]
    if wrong:
        raise ValueError(
            f"Mask '{path}' has the value {wrong[0]}, which is neither 0..{len(CLASSES) - 1} nor "
            f"{IGNORE}: replace it."
        )


@dataclass
class VOC12Report:
    """What was found; one small record per image is kept."""

    missing: list[str] = field(default_factory=list)  # sentences on what the splits lack
    images: dict[str, VOC12Image] = field(default_factory=dict)  # those that are fit
    faults: dict[str, str] = field(default_factory=dict)  # the others, and why
    lists: dict[str, list[str]] = field(default_factory=dict)  # without what is not fit

    def add(self, image: VOC12Image) -> None:
        """Take in what one image turned out to be."""
        if image.fault:
            self.faults[image.img_id] = image.fault
        else:
            self.images[image.img_id] = image

    def text(self) -> str:
        """Return what a user wants to know at the end."""
        sizes = ", ".join(f"{name} {len(ids):,}" for name, ids in self.lists.items())
        made = Counter(image.made_from for image in self.images.values())
        masks = ", ".join(f"{made[name]:,} {words}" for name, words in _MADE.items() if made[name])
        lines = [*self._class_table(), "", f"Images: {sizes}.", f"Masks: {masks}.", *self._notes()]
        left_out = [*self.missing, *self.faults.values()]
        if left_out:
            lines.append(fault_text("Not the whole set", left_out))
        return "\n".join(lines)

    def _class_table(self) -> list[str]:
        """Count the images with a class, by their image labels and by their masks."""
        rows = [[name] for name in ("class", *CLASSES[1:], "labels per image")]
        for split in ("train_aug", "val"):
            images = [self.images[img_id] for img_id in self.lists.get(split, ())]
            for kind in ("names", "in_mask"):
                count = Counter(name for image in images for name in getattr(image, kind))
                rows[0].append(f"{split} {'labels' if kind == 'names' else 'masks'}")
                for row in rows[1:-1]:
                    row.append(f"{count[row[0]]:,}")
                rows[-1].append(f"{count.total() / max(1, len(images)):.2f}")
        return aligned(rows)

    def _notes(self) -> list[str]:
        images = self.images.values()
        other = sum(set(image.names) != set(image.in_mask) for image in images)
        difficult = sum(image.only_difficult for image in images)
        differing = [image.img_id for image in images if image.differs]
        notes = []
        if other:
            notes.append(
                f"Annotations and masks name other classes in {other:,} images "
                f"({100 * other / len(images):.1f} %): so they are, nothing is changed."
            )
        if difficult:
            notes.append(
                f"{difficult:,} images have difficult objects only: these count, "
                "since every image needs a label."
            )
        if differing:
            notes.append(
                f"{len(differing):,} masks that were there are not VOC's own, the first is "
                f"{differing[0]}: --overwrite takes VOC's."
            )
        if "test" not in self.lists:
            notes.append(
                "test.txt is left out: VOC has no ImageSets/Segmentation/test.txt, unpack "
                "VOC2012test.tar into the same folder for it."
            )
        return notes


def fault_text(title: str, faults: Iterable[str]) -> str:
    """Return a title with one line for each of the first faults below it."""
    faults = list(faults)
    lines = [f"{title}:", *(f"  {fault}" for fault in faults[:_NUM_SHOWN])]
    if len(faults) > _NUM_SHOWN:
        lines.append(f"  ... and {len(faults) - _NUM_SHOWN:,} more.")
    return "\n".join(lines)

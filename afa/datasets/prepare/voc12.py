"""Prepare PASCAL VOC 2012 with the masks of SBD: masks, lists and image labels.

Everything that is derived is checked, and the lists are written last: a set that has them is
complete. Nothing is written but ``SegmentationClassAug``, ``ImageSets/SegmentationAug`` and
``image_labels.json`` (and a link to the photos, where the set goes elsewhere).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from afa.datasets.image_labels import load_image_labels, write_image_labels
from afa.datasets.prepare.voc12_sources import (
    CLASSES,
    VOC12Image,
    VOC12Sources,
    check_lists,
    derive_lists,
    find_missing,
    prepare_image,
)
from afa.datasets.wsss_dataset import read_split, write_split
from afa.utils.ordered_pool import OrderedPool

# So many faults, and it is the wrong folder: the rest need not be looked at.
_MAX_FAULTS = 100


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
    job = partial(prepare_image, sources=sources, difficult=difficult, overwrite=overwrite)
    with OrderedPool(job, workers) as pool:
        for image in pool.map((img_id,) for img_id in img_ids):
            report.add(image)
            if progress is not None:
                progress(len(report.images) + len(report.faults), len(img_ids))
            if len(report.faults) == _MAX_FAULTS and not allow_partial:
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
    sources.target("x").parent.mkdir(parents=True, exist_ok=True)
    sources.split("x").parent.mkdir(parents=True, exist_ok=True)
    photos = sources.out / sources.photo("x").parent.name
    if not photos.exists():
        photos.symlink_to(sources.photo("x").parent.resolve(), target_is_directory=True)


def _unfit_text(report: VOC12Report, total: int) -> str:
    if not report.faults:
        return fault_text("No image is fit for train_aug or none for val", report.missing)
    number = f"{len(report.faults):,} of {total:,} images are not fit"
    if len(report.faults) == _MAX_FAULTS:
        number = f"The first {_MAX_FAULTS} images that are not fit, of {total:,}"
    title = f"{number} (mend them and run again, what is done is kept; or add --allow-partial)"
    return fault_text(title, report.faults.values())


def _write_lists(report: VOC12Report, sources: VOC12Sources, overwrite: bool) -> None:
    """Write image labels and lists, unless they are there; refuse to replace others."""
    labels = {img_id: list(image.names) for img_id, image in sorted(report.images.items())}
    wrong = [
        sources.split(name)
        for name, ids in report.lists.items()
        if sources.split(name).exists() and not _has_ids(sources.split(name), ids)
    ]
    if sources.image_labels.exists() and not _has_labels(sources.image_labels, labels):
        wrong.append(sources.image_labels)
    if wrong and not overwrite:
        raise ValueError(
            f"'{wrong[0]}' is there already with another content than derived: move it away, or "
            "add --overwrite to replace lists, image labels and masks."
        )
    if overwrite or not sources.image_labels.exists():
        write_image_labels(sources.image_labels, labels)
    for name, ids in report.lists.items():
        if overwrite or not sources.split(name).exists():
            write_split(sources.split(name), ids)


def _has_ids(path: Path, img_ids: Sequence[str]) -> bool:
    """Tell whether a list has these images, in any order."""
    try:
        return set(read_split(path)) == set(img_ids)
    except ValueError:
        return False


def _has_labels(path: Path, labels: Mapping[str, list[str]]) -> bool:
    """Tell whether image labels hold these; they may hold further images."""
    try:
        return load_image_labels(path, CLASSES, labels) == labels
    except ValueError:
        return False


_NUM_SHOWN = 10  # faults that a message shows


@dataclass
class VOC12Report:
    """Collect what was found; one small record per image is kept.

    Args:
        missing: Sentences on what the splits lack.
        images: The images that are fit.
        faults: The others, and why.
        lists: The splits, without what is not fit.
    """

    missing: list[str] = field(default_factory=list)
    images: dict[str, VOC12Image] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

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
        masks = ", ".join(
            f"{made[source]:,} {words}"
            for source, words in (
                ("VOC", "from VOC"),
                ("SBD", "from SBD"),
                ("ready", "from ready ones"),
                ("", "were there already"),
            )
            if made[source]
        )
        lines = [*self._class_table(), "", f"Images: {sizes}.", f"Masks: {masks}.", *self._notes()]
        left_out = [*self.missing, *self.faults.values()]
        if left_out:
            lines.append(fault_text("Not the whole set", left_out))
        return "\n".join(lines)

    def _class_table(self) -> list[str]:
        """Count the images with a class, by their image labels and by their masks."""
        rows = [["class"]] + [[name] for name in CLASSES[1:]] + [["labels per image"]]
        for split in ("train_aug", "val"):
            images = [self.images[img_id] for img_id in self.lists.get(split, ())]
            for kind in ("names", "in_mask"):
                count = Counter(name for image in images for name in getattr(image, kind))
                mean = count.total() / max(1, len(images))
                rows[0].append(f"{split} {'labels' if kind == 'names' else 'masks'}")
                for row, name in zip(rows[1:-1], CLASSES[1:], strict=True):
                    row.append(f"{count[name]:,}")
                rows[-1].append(f"{mean:.2f}")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return [
            row[0].ljust(widths[0])
            + "".join(f"  {cell.rjust(w)}" for cell, w in zip(row[1:], widths[1:], strict=True))
            for row in rows
        ]

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

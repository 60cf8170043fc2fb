"""Prepare and check one image of VOC 2012: its mask and its image labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from afa.datasets.image_labels import labels_from_xml
from afa.datasets.prepare.sbd import read_sbd_mask
from afa.datasets.prepare.voc12_sources import VOC12Sources
from afa.datasets.voc import VOC12Dataset
from afa.files.label_png import read_label_png, write_label_png

CLASSES: tuple[str, ...] = VOC12Dataset.METAINFO["classes"]
IGNORE = 255


@dataclass(frozen=True)
class VOC12Image:
    """What one image turned out to be.

    Args:
        img_id: The image.
        fault: Why it cannot be used, in one sentence; empty if it can.
        made_from: ``'VOC'``, ``'SBD'`` or ``'ready'``; empty if its mask was there already.
        names: Classes of its annotation.
        in_mask: Classes of its mask.
        only_difficult: All its objects are difficult; they were kept although asked to be dropped.
        differs: Its mask was there already and is another than VOC's own.
    """

    img_id: str
    fault: str = ""
    made_from: str = ""
    names: tuple[str, ...] = ()
    in_mask: tuple[str, ...] = ()
    only_difficult: bool = False
    differs: bool = False


def prepare_image(
    img_id: str, sources: VOC12Sources, difficult: str = "keep", overwrite: bool = False
) -> VOC12Image:
    """Read the labels of an image, make its mask unless it is there, and check what is there then.

    Args:
        img_id: The image.
        sources: Where things lie.
        difficult: ``'keep'`` or ``'drop'`` objects marked as difficult.
        overwrite: Make the mask anew.

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
        differs = not made_from and _differs_from_voc(label, img_id, sources)
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
    if there and not overwrite:
        return ""
    for name, path in sources.mask_sources(img_id):
        if there and path.samefile(target):
            return ""
        label = read_sbd_mask(path) if name == "SBD" else read_label_png(path)
        _check_mask(label, size, path)
        write_label_png(target, label)
        return name
    if not there:
        raise ValueError(
            f"There is no mask of '{img_id}' in VOC's SegmentationClass or in "
            f"'{sources.sbd or sources.masks}'."
        )
    return ""


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


def _differs_from_voc(label: np.ndarray, img_id: str, sources: VOC12Sources) -> bool:
    for name, path in sources.mask_sources(img_id):
        if name == "VOC":
            return not np.array_equal(read_label_png(path), label)
    return False

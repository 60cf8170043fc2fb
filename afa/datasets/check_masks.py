"""Compare the masks of a set with what else is known: the labels of its images, and its photos."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from afa.datasets.faults import ReportFault
from afa.datasets.own_photos import OwnPhotosDataset
from afa.datasets.wsss_dataset import WSSSDataset
from afa.files.photo_search import PHOTO_SUFFIXES

_FEW = 5  # classes that a sentence lists


def compare_with_labels(
    split: str,
    dataset: WSSSDataset,
    masks: Iterable[tuple[Mapping[str, Any], Collection[int]]],
    note: ReportFault,
    fault: ReportFault,
) -> None:
    """Compare the classes in each mask with the labels of its image.

    Objects that are hard to see make some differ in any set; where most do, the masks are numbered
    in another way, or belong to other labels.

    Args:
        split: Name of the split, for the sentences.
        dataset: The data set of the split.
        masks: Entry of an image in the data set, and the values 0..255 that occur in its mask.
        note: Gets each mask that differs.
        fault: Gets a sentence if more than half of them do.
    """
    every, classes = mask_classes(dataset), dataset.metainfo["classes"]
    count = differ = ignored = num_masks = with_background = 0
    for info, values in masks:
        num_masks += 1
        with_background += 0 in values
        if "gt_label" not in info or dataset.reduce_zero_label:
            continue
        labelled = {classes[k + 1] for k in np.flatnonzero(info["gt_label"])}
        if not labelled and not isinstance(dataset, OwnPhotosDataset):
            continue  # a fault of its own
        shown = {every[v] for v in values if 0 < v < len(every)} & set(classes)
        count += 1
        if shown == labelled:
            continue
        differ += 1
        path, said = info["seg_map_path"], _names(labelled, classes)
        if labelled and set(values) <= {0, 255} and 255 in values:
            ignored += 1
            note("only 0 and 255", f"'{path}', where the labels say {said}: 255 is not counted.")
        else:
            has = _names(shown, classes)
            note("mask and labels differ", f"'{path}' has {has}, the labels say {said}.")
    if num_masks and not with_background and not dataset.reduce_zero_label:
        note(
            "no background",
            f"No mask of {split} has a pixel of background (0). Where every pixel has a class, set "
            "the background scores to 0 (docs/own_data.md).",
        )
    if 2 * differ > count:
        numbers = [f"{number} {name}" for number, name in enumerate(every) if name in classes]
        reason = "see how they were numbered, or whether the labels are right"
        if 2 * ignored > differ:
            reason = "they have only 0 and 255, which is not counted: give objects their number"
        fault(
            "masks against labels",
            f"{differ:,} of {count:,} masks of {split} do not have the classes of their image "
            f"labels: {reason}. Masks have the values {_some(numbers)}, and 255 for what is not "
            "counted.",
        )


def mask_classes(dataset: WSSSDataset) -> Sequence[str]:
    """Give the classes in the order of the values in masks, background first.

    Masks hold the labels of all classes of the set, also where the config takes some of them.
    """
    return dataset.METAINFO.get("classes") or dataset.metainfo["classes"]


def note_stray_masks(dataset: WSSSDataset, note: ReportFault) -> None:
    """Name the files in the folder of the masks that no photo has, or that are not read."""
    folder, photos = (dataset.data_prefix.get(key) for key in ("seg_map_path", "img_path"))
    if (
        not folder
        or not os.path.isdir(folder)
        or os.path.realpath(folder) == os.path.realpath(photos or "")
    ):
        return
    suffix = dataset.seg_map_suffix
    for name in _files(folder):
        path = os.path.join(folder, name)
        is_mask = name.endswith(suffix)
        stem = name[: -len(suffix)] if is_mask else os.path.splitext(name)[0]
        if dataset.has_photo(stem):
            if not is_mask and not os.path.isfile(os.path.join(folder, stem + suffix)):
                note("mask of another kind", f"'{path}' is not read: masks end in {suffix}.")
        elif is_mask or name.lower().endswith(PHOTO_SUFFIXES):
            note("mask without photo", f"'{path}' has the name of no photo in '{photos}'.")


def _files(folder: str) -> Iterator[str]:
    """Give the files of a folder and its sub-folders, with '/'; hidden ones do not count."""
    for here, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(here, name), folder).replace(os.sep, "/")


def _names(some: Collection[str], order: Sequence[str]) -> str:
    return _some([name for name in order if name in some]) if some else "no class"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")

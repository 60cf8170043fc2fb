"""Open everything that a config's data sets name, and tell all faults in words and in JSON.

The data sets themselves list their photos and labels, with :class:`Faults` that gather instead of
raising; the files are opened in worker processes.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from prettytable import PrettyTable

from afa.datasets.check_masks import compare_with_labels, mask_classes, note_stray_masks
from afa.datasets.faults import Faults
from afa.datasets.own_photos import OwnPhotosDataset
from afa.datasets.wsss_dataset import WSSSDataset
from afa.files.photo_check import check_photo
from afa.files.whole_file import write_json
from afa.utils.class_names import beside, made_of_others
from afa.utils.ordered_pool import OrderedPool

_MIN_FOR_WORKERS = 50  # starting worker processes takes a second


@dataclass
class SplitSummary:
    """What one loader's data set holds."""

    num_photos: int = 0
    num_masks: int = 0
    photos_of_class: dict[str, int] = field(default_factory=dict)
    photos_of_num_labels: dict[int, int] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (height, width) of what opened

    def three_sizes(self) -> dict[str, tuple[int, int]]:
        """Return the (height, width) with the fewest, the middle and the most pixels."""
        if not self.sizes:
            return {}
        order = sorted(self.sizes, key=lambda size: size[0] * size[1])
        return {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}


@dataclass
class DataReport:
    """What a check has found."""

    faults: Faults = field(default_factory=Faults)
    notes: Faults = field(default_factory=Faults)
    splits: dict[str, SplitSummary] = field(default_factory=dict)

    @property
    def fit(self) -> bool:
        """Whether the data can be used as they are."""
        return self.faults.count == 0


def check_datasets(
    entries: Mapping[str, Mapping[str, Any]],
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Check data sets.

    Args:
        entries: Name of each split and its data set's entry in the config. Equal sets are opened
            once.
        num_workers: Worker processes that open photos; 0 for none.
        progress: Called with the number of opened photos and of all photos.

    Returns:
        Faults, notes and counts.

    Raises:
        ValueError: If an entry is no :class:`WSSSDataset`, or its arguments are wrong.
    """
    init_default_scope("mmseg")
    report = DataReport()
    datasets: dict[str, WSSSDataset] = {}
    jobs: list[tuple[str, dict, tuple]] = []
    masks: dict[str, list[tuple[dict, frozenset[int]]]] = {}
    for name, entry in _merge_equal(entries).items():
        dataset = _build(entry, report)
        if dataset is not None:
            datasets[name] = dataset
            infos = [dataset.get_data_info(index) for index in range(len(dataset))]
            report.splits[name] = _summarize(dataset, infos)
            jobs += [(name, info, _job(dataset, entry, info)) for info in infos]
    workers = num_workers if len(jobs) >= _MIN_FOR_WORKERS else min(num_workers, 0)
    with OrderedPool(check_photo, workers) as pool:
        results = pool.map(job for *_, job in jobs)
        for number, ((name, info, _), found) in enumerate(zip(jobs, results, strict=True), start=1):
            for kind, sentence in found.faults:
                report.faults(kind, sentence)
            for kind, sentence in found.notes:
                report.notes(kind, sentence)
            if found.size is not None:
                report.splits[name].sizes.append(found.size)
            if found.mask_values is not None:
                masks.setdefault(name, []).append((info, found.mask_values))
            if progress is not None:
                progress(number, len(jobs))
    for name, dataset in datasets.items():
        note_stray_masks(dataset, report.notes)
        compare_with_labels(name, dataset, masks.get(name, []), report.notes, report.faults)
    _note_oddities(datasets, report)
    return report


def _merge_equal(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Join the names of splits that read the same data, such as ``val, test``."""
    merged: dict[str, Mapping[str, Any]] = {}
    for name, entry in entries.items():
        same = next((other for other in merged if dict(merged[other]) == dict(entry)), None)
        if same is not None:
            name, entry = f"{same}, {name}", merged.pop(same)
        merged[name] = entry
    return merged


def _build(entry: Mapping[str, Any], report: DataReport) -> WSSSDataset | None:
    """Build a data set that reports its faults instead of raising them; None if it cannot be."""
    component = DATASETS.get(entry.get("type"))
    if not (isinstance(component, type) and issubclass(component, WSSSDataset)):
        raise ValueError(
            f"A {entry.get('type')} cannot be checked: it is no WSSSDataset, which knows labels of "
            "images."
        )
    arguments = {**entry, "report": report.faults, "serialize_data": False}
    try:
        return DATASETS.build(arguments)
    except ValueError as error:
        report.faults("list or labels", str(error))
        return None


def _summarize(dataset: WSSSDataset, infos: list[dict]) -> SplitSummary:
    names = dataset.metainfo["classes"][1:]
    labels = [info["gt_label"] for info in infos if "gt_label" in info]
    of_class = np.sum(labels, axis=0) if labels else [0] * len(names)
    per_photo = Counter(int(label.sum()) for label in labels)
    return SplitSummary(
        num_photos=len(infos),
        num_masks=sum(_mask_path(info) is not None for info in infos),
        photos_of_class={name: int(count) for name, count in zip(names, of_class, strict=True)},
        photos_of_num_labels=dict(sorted(per_photo.items())),
    )


def _mask_path(info: Mapping[str, Any]) -> str | None:
    """Return the mask of an image; masks that training does without may be missing."""
    path = info.get("seg_map_path")
    return path if path is not None and os.path.isfile(path) else None


def _job(dataset: WSSSDataset, entry: Mapping[str, Any], info: Mapping[str, Any]) -> tuple:
    """Return the arguments of :func:`check_photo`."""
    loads = [step for step in entry.get("pipeline") or () if step.get("type") == "LoadPhoto"]
    apply_exif = loads[-1].get("apply_exif", True) if loads else True
    return info["img_path"], _mask_path(info), len(mask_classes(dataset)), apply_exif


def _note_oddities(datasets: Mapping[str, WSSSDataset], report: DataReport) -> None:
    """Note what is no fault and may be a slip."""
    seen: dict[str, str] = {}
    stray: dict[str, set[str]] = {}
    for name, dataset in datasets.items():
        for info in (dataset.get_data_info(index) for index in range(len(dataset))):
            other = seen.setdefault(info["img_path"], name)
            if other != name:
                report.notes(
                    "photo in two splits", f"'{info['img_path']}' is in {other} and {name}."
                )
        for class_name, count in report.splits[name].photos_of_class.items():
            if count == 0:
                report.notes("class without photo", f"No photo of {name} has '{class_name}'.")
        if dataset.image_labels is not None:
            ids = dataset.labels_without_photo()
            stray[dataset.image_labels] = stray.get(dataset.image_labels, ids) & ids
        if isinstance(dataset, OwnPhotosDataset):
            for path in dataset.unlisted():
                report.notes("photo without labels", f"The labels do not name '{path}'.")
            _note_alike_classes(dataset.metainfo["classes"][1:], report)
    for source, ids in stray.items():
        for img_id in sorted(ids):
            report.notes("labels without photo", f"'{img_id}' in '{source}' has no photo.")


def _note_alike_classes(classes: tuple[str, ...], report: DataReport) -> None:
    for name, parts in made_of_others(classes).items():
        report.notes("class made of others", f"'{name}' is made of {' and '.join(parts)}.")
    for number, name in enumerate(classes):
        for other in difflib.get_close_matches(name, classes[number + 1 :], cutoff=0.85):
            report.notes(
                "alike classes",
                f"{beside(name, other)} and {beside(other, name)}: if one is a slip, mend it.",
            )


def report_lines(report: DataReport, limit: int = 20) -> list[str]:
    """Return the lines of the report: the counts of each split, notes, faults, the conclusion.

    Of each kind of notes and faults, at most ``limit`` are listed.
    """
    lines = []
    for name, summary in report.splits.items():
        lines += ["", f"{name}: {_sentence(summary)}"]
    if report.splits:
        lines += ["", _class_table(report)]
    for title, gathered in (("To look at", report.notes), ("Faults", report.faults)):
        if gathered.count:
            lines += ["", f"{title} ({gathered.count:,}):"]
            lines += [f"  {line}" for line in gathered.lines(limit)]
    kinds = ", ".join(f"{len(found):,} {kind}" for kind, found in report.faults.found.items())
    return [*lines, "", "The data are fit." if report.fit else f"The data are not fit: {kinds}."]


def write_data_report(path: str | Path, report: DataReport, config: str) -> None:
    """Write the report as JSON, with every fault; the file is there whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    splits = report.splits.items()
    content = {
        "config": config,
        "fit": report.fit,
        "splits": {name: {**vars(split), "sizes": split.three_sizes()} for name, split in splits},
        "faults": report.faults.found,
        "notes": report.notes.found,
    }
    write_json(path, content)


def _sentence(summary: SplitSummary) -> str:
    text = f"{summary.num_photos:,} photos, {summary.num_masks:,} masks"
    sizes = summary.three_sizes()
    if sizes:
        text += "; width x height " + ", ".join(
            f"{name} {width} x {height}" for name, (height, width) in sizes.items()
        )
    counts = ", ".join(
        f"{number}: {photos:,}" for number, photos in summary.photos_of_num_labels.items()
    )
    return f"{text}; photos by number of labels {counts}" if counts else text


def _class_table(report: DataReport) -> str:
    table = PrettyTable(["class", *report.splits])
    table.align = "r"
    table.align["class"] = "l"
    names = dict.fromkeys(name for s in report.splits.values() for name in s.photos_of_class)
    for name in names:
        counts = [summary.photos_of_class.get(name, 0) for summary in report.splits.values()]
        table.add_row([name, *(f"{count:,}" for count in counts)])
    return table.get_string()

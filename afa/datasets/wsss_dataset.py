"""The data set all others share: images, image-level labels and, for evaluation, masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from afa.datasets.faults import ReportFault, raise_fault
from afa.datasets.image_labels import (
    labelled_ids,
    load_image_labels,
    load_sub_labels,
    sub_multi_hot,
    to_multi_hot,
)
from afa.files.label_png import read_label_png
from afa.files.whole_file import safe_join, write_text
from afa.utils.class_names import clean_names


@DATASETS.register_module()
class WSSSDataset(BaseSegDataset):
    """Read images with image-level labels, listed in a file with one image id per line.

    What is missing or does not match is said at construction, in one sentence.

    Args:
        image_labels: JSON file ``{id: [names]}`` or folder of VOC annotations, relative to
            ``data_root``; None for a set without image labels (no ``gt_label`` in the samples).
        difficult: ``'keep'`` or ``'drop'`` VOC objects marked as difficult.
        sub_labels: JSON file ``{id: {name: index}}`` with the sub-category of each class of an
            image (SC-CAM), relative to ``data_root``; None for none (no ``gt_sub_label``).
        num_sub: sub-categories of a class.
        report: What to do with a fault. By default the first one is raised; one that gathers
            faults leaves out the images that are not there.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`; ``metainfo['classes']`` has
            the background first.
    """

    _indices: int | Sequence[int] | None  # of mmengine
    prepare_hint = "see docs/data.md for the layout, or set data_root"

    def __init__(
        self,
        image_labels: str | None = None,
        difficult: str = "keep",
        sub_labels: str | None = None,
        num_sub: int = 10,
        report: ReportFault = raise_fault,
        **kwargs: Any,
    ) -> None:
        if sub_labels is not None and image_labels is None:
            raise ValueError(
                f"sub_labels='{sub_labels}' needs image_labels: sub-categories belong to classes."
            )
        root = kwargs.get("data_root") or ""
        self.image_labels = None if image_labels is None else os.path.join(root, image_labels)
        self.difficult = difficult
        self.sub_labels = None if sub_labels is None else os.path.join(root, sub_labels)
        self.num_sub = num_sub
        self.report = report
        self._loads_masks = any(
            isinstance(step, dict) and step.get("type") == "LoadAnnotations"
            for step in kwargs.get("pipeline") or []
        )
        super().__init__(**kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Any = None) -> dict[str, Any]:
        loaded = super()._load_metainfo(metainfo)
        if isinstance(loaded.get("classes"), (list, tuple)):
            loaded["classes"] = clean_names(loaded["classes"], "metainfo.classes")
        return loaded

    def load_data_list(self) -> list[dict]:
        """List the images of the split with their labels.

        Returns:
            One dict per image: ``img_path``, ``img_id``, ``gt_label`` float32 (K,) when there are
            image labels, ``gt_sub_label`` float32 (K * num_sub,) when there are sub-categories,
            ``seg_map_path`` and what mmseg's loading needs.

        Raises:
            ValueError: If a file or folder is missing, the split is empty or names an image twice,
                or the labels do not match images and classes.
        """
        classes = self._metainfo.get("classes")
        if not classes or len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs metainfo=dict(classes=('background', ...)) with at "
                f"least one foreground class, got {classes}."
            )
        img_dir = self._folder("img_path", "Image")
        img_ids = self._chosen(self._read_split())
        gone = self._missing(img_ids, img_dir, self.img_suffix, "image")
        img_ids = [img_id for img_id in img_ids if img_id not in gone]
        seg_dir, no_mask = self.data_prefix.get("seg_map_path"), set[str]()
        if self._loads_masks:
            folder = self._folder("seg_map_path", "Mask")
            no_mask = self._missing(img_ids, folder, self.seg_map_suffix, "mask")
        data_list = [self._info(img_dir, img_id + self.img_suffix, img_id) for img_id in img_ids]
        for info in data_list:
            if seg_dir is not None and info["img_id"] not in no_mask:
                info["seg_map_path"] = os.path.join(seg_dir, info["img_id"] + self.seg_map_suffix)
        if self.image_labels is not None:
            self._add_labels(data_list, self.image_labels, img_ids)
        return data_list

    def prepare_data(self, idx: int) -> Any:
        """Send an image through the pipeline.

        Raises:
            ValueError: If its mask cannot be read; mmseg's loader does not name the file.
        """
        try:
            return super().prepare_data(idx)
        except (OSError, SyntaxError) as error:  # photos are read by LoadPhoto, which names them
            mask = self.get_data_info(idx).get("seg_map_path")
            of_the_machine = isinstance(error, OSError) and error.errno is not None
            if of_the_machine or not self._loads_masks or mask is None:
                raise
            read_label_png(mask)
            raise ValueError(f"The mask '{mask}' cannot be read ({error}): replace it.") from error

    def labels_without_photo(self) -> set[str]:
        """Name the images that have labels and no photo in the folder of this set.

        Labels of other splits may be among them, where these have a folder of their own.
        """
        if self.image_labels is None:
            return set()
        folder = self._folder("img_path", "Image")
        return set(without_file(labelled_ids(self.image_labels), folder, self.img_suffix))

    def has_photo(self, img_id: str) -> bool:
        """Tell whether the folder of this set has a photo of a name, in any split."""
        return os.path.isfile(os.path.join(self.data_prefix["img_path"], img_id + self.img_suffix))

    def _info(self, folder: str, file_name: str, img_id: str) -> dict[str, Any]:
        """Return what every image has, whatever its labels are."""
        return dict(
            img_path=os.path.join(folder, file_name),
            img_id=img_id,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )

    def _add_labels(self, data_list: list[dict], path: str, img_ids: list[str]) -> None:
        """Write ``gt_label`` and ``gt_sub_label`` into the images."""
        classes, known = self._metainfo["classes"], self.METAINFO.get("classes", ())
        labels = load_image_labels(path, classes, img_ids, self.difficult, known, self.report)
        for info in data_list:
            info["gt_label"] = to_multi_hot(labels[info["img_id"]], classes)
        if self.sub_labels is not None:
            others = set(known) - set(classes)
            subs = load_sub_labels(self.sub_labels, labels, self.num_sub, others)
            for info in data_list:
                info["gt_sub_label"] = sub_multi_hot(subs[info["img_id"]], classes, self.num_sub)

    def _folder(self, key: str, what: str) -> str:
        """Return a folder of ``data_prefix``; say so if it is not there."""
        folder = self.data_prefix.get(key)
        if not folder or not os.path.isdir(folder):
            raise ValueError(
                f"{what} folder '{folder}' (data_prefix['{key}']) does not exist: "
                f"{self.prepare_hint}."
            )
        return folder

    def _read_split(self) -> list[str]:
        """Read the image ids of the split; without ``ann_file`` take every image of the folder."""
        if self.ann_file:
            return read_split(self.ann_file, self.prepare_hint, self.report)
        root = self.data_prefix["img_path"]
        names = [os.path.relpath(info["img_path"], root) for info in super().load_data_list()]
        img_ids = [name[: -len(self.img_suffix)] for name in names]
        return check_ids(img_ids, f"folder '{root}' (suffix '{self.img_suffix}')", self.report)

    def _chosen(self, img_ids: list[str]) -> list[str]:
        """Keep the images of ``indices``: what is not used need not be there."""
        chosen, self._indices = self._indices, None  # mmengine would choose once more
        if chosen is None:
            return img_ids
        if isinstance(chosen, int):
            return img_ids[:chosen] if chosen >= 0 else img_ids[chosen:]
        return [img_ids[index] for index in chosen]

    def _missing(self, img_ids: Sequence[str], folder: str, suffix: str, what: str) -> set[str]:
        """Report the images of the split without a file."""
        missing = without_file(img_ids, folder, suffix)
        if missing:
            without = " (tools/test.py --format-only does without)" if what == "mask" else ""
            paths = [os.path.join(folder, img_id + suffix) for img_id in missing]
            self.report(
                f"missing {what}",
                f"{len(missing)} of {len(img_ids)} {what} files are missing, the first is "
                f"'{paths[0]}': add them or mend the split file{without}.",
                [f"'{path}' is not there" for path in paths],
            )
        return set(missing)


def without_file(img_ids: Iterable[str], folder: str | Path, suffix: str) -> list[str]:
    """Name the images without a file in a folder; one listing, not many look-ups."""
    there = set(os.listdir(folder))
    absent = (img_id for img_id in img_ids if img_id + suffix not in there)
    return [one for one in absent if not os.path.isfile(os.path.join(folder, one + suffix))]


def read_split(
    path: str | Path, hint: str = "see docs/data.md", report: ReportFault = raise_fault
) -> list[str]:
    """Read the image ids of a split.

    Args:
        path: The file.
        hint: What to do where it cannot be read.
        report: What to do with a line that has a fault; it is left out.

    Returns:
        The ids in the order of the file; empty lines do not count.

    Raises:
        ValueError: If the file cannot be read; also for the faults of :func:`check_ids`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Split file '{path}' cannot be read ({error}): {hint}.") from error
    img_ids = [line.strip() for line in text.splitlines() if line.strip()]
    return check_ids(img_ids, f"split file '{path}'", report)


def check_ids(img_ids: Sequence[str], source: str, report: ReportFault = raise_fault) -> list[str]:
    """Refuse an empty split, and ids that have spaces, lead out of a folder, or come twice.

    Args:
        img_ids: The ids.
        source: Where they come from, for the sentence.
        report: What to do with an id that has a fault; it is left out.

    Raises:
        ValueError: If one of these is so, unless ``report`` gathers it.
    """
    if not img_ids:
        report("empty split", f"The {source} is empty: it must name at least one image.")
    seen: dict[str, None] = {}
    for img_id in img_ids:
        fault = None
        if len(img_id.split()) != 1:
            fault = f"must have one image id per line, got the line '{img_id}'."
        elif img_id in seen:
            fault = f"names the image '{img_id}' twice: remove one."
        else:
            try:
                safe_join("", img_id)  # photos, masks and results are named after it
            except ValueError as error:
                fault = f"has a line that is no image id: {error}"
        if fault:
            report("split file", f"The {source} {fault}")
        else:
            seen[img_id] = None
    return list(seen)


def write_split(path: str | Path, img_ids: Iterable[str]) -> None:
    """Write the image ids of a split; the file is there whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    write_text(path, "".join(f"{img_id}\n" for img_id in img_ids))

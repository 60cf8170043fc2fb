"""The data set all others share: images, image-level labels and, for evaluation, masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from afa.datasets.image_labels import labelled_ids, load_image_labels, to_multi_hot
from afa.datasets.split_file import check_ids, read_split
from afa.datasets.sub_labels import load_sub_labels, sub_multi_hot
from afa.files.label_png import read_label_png
from afa.utils.problems import Report, refuse


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

    prepare_hint = "see docs/data.md for the layout, or set data_root"

    def __init__(
        self,
        image_labels: str | None = None,
        difficult: str = "keep",
        sub_labels: str | None = None,
        num_sub: int = 10,
        report: Report = refuse,
        **kwargs: Any,
    ) -> None:
        data_root = kwargs.get("data_root")
        if image_labels is not None and data_root is not None:
            image_labels = os.path.join(data_root, image_labels)
        self.image_labels = image_labels
        self.difficult = difficult
        if sub_labels is not None and image_labels is None:
            raise ValueError(
                f"sub_labels='{sub_labels}' needs image_labels: sub-categories belong to classes."
            )
        if sub_labels is not None and data_root is not None:
            sub_labels = os.path.join(data_root, sub_labels)
        self.sub_labels = sub_labels
        self.num_sub = num_sub
        self.report = report
        pipeline = kwargs.get("pipeline") or []
        self._loads_masks = any(
            isinstance(step, dict) and step.get("type") == "LoadAnnotations" for step in pipeline
        )
        super().__init__(**kwargs)

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
        img_ids = self._read_split()
        gone = self._missing(img_ids, img_dir, self.img_suffix, "image")
        img_ids = [img_id for img_id in img_ids if img_id not in gone]
        seg_dir, no_mask = self.data_prefix.get("seg_map_path"), set[str]()
        if self._loads_masks:
            folder = self._folder("seg_map_path", "Mask")
            no_mask = self._missing(img_ids, folder, self.seg_map_suffix, "mask")
        labels = None
        if self.image_labels is not None:
            known = self.METAINFO.get("classes", ())
            labels = load_image_labels(
                self.image_labels, classes, img_ids, self.difficult, known, self.report
            )
        data_list = []
        for img_id in img_ids:
            info = dict(
                img_path=os.path.join(img_dir, img_id + self.img_suffix),
                img_id=img_id,
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            if seg_dir is not None and img_id not in no_mask:
                info["seg_map_path"] = os.path.join(seg_dir, img_id + self.seg_map_suffix)
            if labels is not None:
                info["gt_label"] = to_multi_hot(labels[img_id], classes)
            data_list.append(info)
        if labels is not None and self.sub_labels is not None:
            self._add_sub_labels(data_list, labels, self.sub_labels)
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

    def _add_sub_labels(
        self, data_list: list[dict], labels: dict[str, list[str]], path: str
    ) -> None:
        """Write ``gt_sub_label`` into the images, whose class names are given."""
        classes = self._metainfo["classes"]
        others = set(self.METAINFO.get("classes", ())) - set(classes)
        subs = load_sub_labels(path, labels, self.num_sub, others)
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
        if not self.ann_file:
            infos = super().load_data_list()
            root = self.data_prefix["img_path"]
            ids = [os.path.relpath(info["img_path"], root) for info in infos]
            img_ids = [name[: -len(self.img_suffix)] for name in ids]
            return check_ids(img_ids, f"folder '{root}' (suffix '{self.img_suffix}')", self.report)
        return read_split(self.ann_file, self.prepare_hint, self.report)

    def _missing(self, img_ids: Sequence[str], folder: str, suffix: str, what: str) -> set[str]:
        """Report the images of the split without a file; one listing, not many look-ups."""
        there = set(os.listdir(folder))
        missing = [
            img_id
            for img_id in img_ids
            if img_id + suffix not in there
            and not os.path.isfile(os.path.join(folder, img_id + suffix))
        ]
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

    def labels_without_photo(self) -> set[str]:
        """Name the images that have labels and no photo in the folder of this set.

        Labels of other splits may be among them, where these have a folder of their own.
        """
        if self.image_labels is None:
            return set()
        folder = self._folder("img_path", "Image")
        there = set(os.listdir(folder))
        return {
            img_id
            for img_id in labelled_ids(self.image_labels)
            if img_id + self.img_suffix not in there
            and not os.path.isfile(os.path.join(folder, img_id + self.img_suffix))
        }

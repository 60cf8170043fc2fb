"""Photos of your own: a folder, and one file with their labels (docs/own_data.md)."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from mmseg.registry import DATASETS

from afa.datasets.faults import ReportFault, raise_fault
from afa.datasets.image_labels import to_multi_hot
from afa.datasets.own_labels import SPLITS, find_labels_file, photo_stem, read_own_labels
from afa.datasets.wsss_dataset import WSSSDataset
from afa.files.label_png import distinct_palette
from afa.files.photo_search import PHOTO_SUFFIXES, find_photos
from afa.utils.class_names import clean_names


@DATASETS.register_module()
class OwnPhotosDataset(WSSSDataset):
    """Read photos whose classes, labels and splits stand in one CSV or JSON file.

    Masks are optional, image by image: a sample has ``seg_map_path`` where there is one. A photo
    whose list of labels is empty is a photo without any class. ``img_id`` is the path of a photo
    below the folder, without suffix.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        image_labels: The labels file in ``data_root``; None for labels.csv or labels.json.
        report: What to do with a fault.
        **kwargs: Arguments of :class:`WSSSDataset`. ``data_prefix`` has the folders of photos
            (``img_path``) and masks (``seg_map_path``) in ``data_root``.

    Raises:
        ValueError: If the file is missing or not as :func:`read_own_labels` wants it; when the set
            is filled, also if a photo is missing or the split is empty.
    """

    prepare_hint = "docs/own_data.md shows how to lay out photos of your own; or set data_root"

    def __init__(
        self,
        split: str = "train",
        image_labels: str | None = None,
        report: ReportFault = raise_fault,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got '{split}'.")
        self.split = split
        path = find_labels_file(kwargs.get("data_root"), image_labels)
        self.own_labels = read_own_labels(path, report)
        classes = self.own_labels.classes
        metainfo = dict(kwargs.pop("metainfo", None) or {})
        given = clean_names(metainfo.get("classes", classes), "metainfo.classes")
        if given != classes:
            raise ValueError(
                f"metainfo.classes is {', '.join(given)}, but '{path}' has "
                f"{', '.join(classes)}: leave metainfo.classes out."
            )
        metainfo["classes"] = classes
        metainfo.setdefault("palette", distinct_palette(len(classes)))
        super().__init__(image_labels=path.name, report=report, metainfo=metainfo, **kwargs)

    @classmethod
    def classes_of(cls, dataset: Mapping[str, Any]) -> list[str] | None:
        """Read the classes of a data set's entry in a config, background first.

        Returns:
            The classes; None if the folder of the entry is not there.

        Raises:
            ValueError: If there is no labels file in it, or it has a fault.
        """
        if not os.path.isdir(dataset.get("data_root") or "."):
            return None
        path = find_labels_file(dataset.get("data_root"), dataset.get("image_labels"))
        return list(read_own_labels(path).classes)

    def load_data_list(self) -> list[dict]:
        """List the photos of the split, as :meth:`WSSSDataset.load_data_list` does.

        Raises:
            ValueError: If a folder or photo is missing, or the split is empty.
        """
        finder = self._finder
        seg_dir = self.data_prefix.get("seg_map_path")
        photos = [photo for photo in self.own_labels.photos if photo.split == self.split]
        if not photos:
            self.report(
                "empty split",
                f"'{self.image_labels}' has no photo of the split '{self.split}': write "
                f"'{self.split}' into its column 'split'.",
            )
        data_list, missing = [], []
        for photo in photos:
            names = finder.find(photo.name)
            if not names:
                missing.append(photo.name)
                continue
            if len(names) > 1:
                self.report(
                    "photo name",
                    f"'{photo.name}' in '{self.image_labels}' may be {' or '.join(names)}: "
                    "write the name with its suffix.",
                )
                continue
            info = self._info(finder.folder, names[0], photo_stem(names[0]))
            info["gt_label"] = to_multi_hot(photo.labels, self.own_labels.classes)
            mask = os.path.join(seg_dir or "", info["img_id"] + self.seg_map_suffix)
            if seg_dir and (self._loads_masks or os.path.isfile(mask)):
                info["seg_map_path"] = mask
            data_list.append(info)
        if missing:
            self.report(
                "missing photo",
                f"{len(missing)} of {len(photos)} photos of '{self.image_labels}' are not in "
                f"'{finder.folder}', the first is '{missing[0]}': add them or take them out.",
                [f"'{name}' is not in '{finder.folder}'" for name in missing],
            )
        return data_list

    @cached_property
    def _finder(self) -> _PhotoFinder:
        return _PhotoFinder(self._folder("img_path", "Photo"))

    def has_photo(self, img_id: str) -> bool:
        """Tell whether the folder has a photo of a name, of any kind that is read."""
        return any(photo_stem(name) == img_id for name in self._finder.find(img_id))

    def unlisted(self) -> list[str]:
        """List the photos of the folder that the labels file does not name, in any split."""
        finder = self._finder
        listed = {name for photo in self.own_labels.photos for name in finder.find(photo.name)}
        stems = {_path_stem(os.path.join(finder.folder, name)) for name in listed}
        masks = self.data_prefix.get("seg_map_path")
        beside = masks is None or os.path.realpath(masks) == os.path.realpath(finder.folder)
        try:
            there = find_photos([finder.folder], leave_out=None if beside else masks)
        except ValueError:  # none at all
            return []
        return [str(photo.path) for photo in there if _path_stem(photo.path) not in stems]

    def labels_without_photo(self) -> set[str]:
        """Name nothing: a missing photo is a fault here, told when the set is filled."""
        return set()


def _path_stem(path: str | os.PathLike) -> str:
    return photo_stem(os.path.normpath(path))


class _PhotoFinder:
    """Find photos whose names were written down by people.

    A name may lack its suffix or have it in other letters (JPG, jpg), and an accented letter may be
    one character or two, as macOS writes it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> list[str]:
        """Return the names of the files below the folder that it may mean; of one, as a rule."""
        if os.path.isfile(os.path.join(self.folder, name)):
            return [name]
        sub, _, base = name.rpartition("/")
        if sub not in self._listed:
            self._listed[sub] = self._list(sub)
        base = unicodedata.normalize("NFC", base)
        stem = photo_stem(base)
        suffix = base[len(stem) :].lower()
        return [
            f"{sub}/{found}" if sub else found
            for found in self._listed[sub].get(stem, [])
            if suffix in ("", os.path.splitext(found)[1].lower())
        ]

    def _list(self, sub: str) -> dict[str, list[str]]:
        """Return the photos of a folder by their names without suffix."""
        folder = os.path.join(self.folder, sub)
        table: dict[str, list[str]] = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.lower().endswith(PHOTO_SUFFIXES):
                table.setdefault(photo_stem(unicodedata.normalize("NFC", name)), []).append(name)
        return table

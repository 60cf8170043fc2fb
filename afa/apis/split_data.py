"""The images of a split, or of a list of ids, as a test sees them: without crops or mirror images.

Photos that labels are made for need no masks; where there are masks, they are read beside.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from afa.datasets import LoadPhoto
from afa.datasets.split_file import read_split
from afa.engine.config_components import find_component
from afa.engine.config_files import leaf_datasets

SPLITS = ("train", "val", "test")
_MASK_STEPS = ("LoadAnnotations", "LoadOptionalMask")


class SplitData:
    """Images with their ids, photos, image labels and masks.

    Args:
        cfg: A config with data loaders; its components are registered.
        split: ``'train'``, ``'val'`` or ``'test'``, or a file with one image id per line.
        with_labels: Whether image labels are read where the data set gives them; without, they
            need not be there.

    Raises:
        ValueError: If there is no such split or file, or the data set has a fault.
    """

    def __init__(self, cfg: Mapping[str, Any], split: str, with_labels: bool = True) -> None:
        pipeline = _test_pipeline(cfg)
        masks = [step for step in pipeline if step["type"] in _MASK_STEPS]
        self._load_mask = TRANSFORMS.build(masks[0] if masks else dict(type="LoadAnnotations"))
        pipeline = [step for step in pipeline if step not in masks]
        self.pipeline = pipeline
        changes = dict(pipeline=pipeline, test_mode=True)
        if split in SPLITS:
            self.dataset = _build(_entry(cfg, split), changes, with_labels)
        else:
            self.dataset = _build_from_list(cfg, split, changes, with_labels)
        self.split = split
        self.ids = [self._id(self.dataset.get_data_info(i)) for i in range(len(self.dataset))]

    @staticmethod
    def _id(info: Mapping[str, Any]) -> str:
        return info["img_id"] if "img_id" in info else Path(info["img_path"]).stem

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background first."""
        return list(self.dataset.metainfo["classes"])

    @property
    def palette(self) -> list[list[int]]:
        """RGB colours of the classes."""
        return self.dataset.metainfo["palette"]

    @property
    def has_labels(self) -> bool:
        """Whether the images have image labels."""
        return "gt_label" in self.dataset.get_data_info(0)

    def packed(self, index: int) -> dict[str, Any]:
        """Send a photo through the test pipeline: ``inputs`` and ``data_samples``."""
        return self.dataset[index]

    def photo(self, index: int) -> np.ndarray:
        """Load a photo at its own size, as the pipeline does: (H, W, 3) uint8 BGR."""
        load = self.dataset.pipeline.transforms[0]
        load = load.whole() if isinstance(load, LoadPhoto) else load
        return load(dict(img_path=self.dataset.get_data_info(index)["img_path"]))["img"]

    def image_label(self, index: int) -> np.ndarray:
        """Give the image label (K,) float32."""
        return self.dataset.get_data_info(index)["gt_label"]

    def has_mask(self, index: int) -> bool:
        """Tell whether an image has a mask."""
        path = self.dataset.get_data_info(index).get("seg_map_path")
        return path is not None and os.path.isfile(path)

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Load the mask of an image that has one.

        Args:
            index: Of the image.
            size: Height and width of its photo.

        Returns:
            (H, W) uint8: 0 background, 1..K foreground, 255 unknown.

        Raises:
            ValueError: If it cannot be read or has another size.
        """
        info = self.dataset.get_data_info(index)
        mask = self._load_mask(dict(info, ori_shape=size))["gt_seg_map"]
        if mask.shape != tuple(size):
            raise ValueError(
                f"The mask '{info['seg_map_path']}' has {mask.shape[0]} x {mask.shape[1]} pixels "
                f"(height x width), its photo {size[0]} x {size[1]}: they must agree."
            )
        return mask


def _entry(cfg: Mapping[str, Any], split: str) -> Mapping[str, Any]:
    """Find the one data set that a loader of the config reads."""
    loader = cfg.get(f"{split}_dataloader")
    if not loader:
        raise ValueError(f"The config has no {split}_dataloader: choose another split, or a list.")
    entries = [entry for _, entry in leaf_datasets(loader["dataset"], split)]
    if len(entries) != 1:
        raise ValueError(
            f"{split}_dataloader joins {len(entries)} data sets, but labels are made for one at a "
            "time: write a config with one of them."
        )
    return entries[0]


def _test_pipeline(cfg: Mapping[str, Any]) -> list[dict[str, Any]]:
    for split in ("test", "val"):
        if cfg.get(f"{split}_dataloader"):
            return copy.deepcopy(list(_entry(cfg, split)["pipeline"]))
    raise ValueError("The config needs a val_dataloader or test_dataloader: its pipeline is used.")


def _build(
    entry: Mapping[str, Any], changes: Mapping[str, Any], with_labels: bool
) -> BaseSegDataset:
    entry = {**copy.deepcopy(dict(entry)), **changes}
    # A data set that reads its classes from the labels file cannot do without it.
    reads_classes = hasattr(find_component(entry["type"], DATASETS), "classes_of")
    if not with_labels and not reads_classes and "image_labels" in entry:
        entry["image_labels"] = None
    return DATASETS.build(entry)


def _build_from_list(
    cfg: Mapping[str, Any], path: str, changes: Mapping[str, Any], with_labels: bool
) -> BaseSegDataset:
    """Build the data set whose folder has the photos of a list: that of train, else val, test."""
    if not os.path.isfile(path):
        raise ValueError(
            f"--split must be one of {', '.join(SPLITS)} or a file with one image id per line, got "
            f"'{path}', which is no file."
        )
    wanted = read_split(path)
    first: ValueError | None = None
    for split in (split for split in SPLITS if cfg.get(f"{split}_dataloader")):
        entry = _entry(cfg, split)
        try:
            if "ann_file" in entry:
                return _build(entry, {**changes, "ann_file": os.path.abspath(path)}, with_labels)
            return _subset(_build(entry, changes, with_labels), wanted, path)
        except ValueError as error:
            first = first or error
    assert first is not None, "there is a loader, or there would be no pipeline"
    raise first


def _subset(dataset: BaseSegDataset, wanted: list[str], path: str) -> BaseSegDataset:
    """Keep the images of a list, in its order."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    places = {SplitData._id(info): i for i, info in enumerate(infos)}
    missing = [img_id for img_id in wanted if img_id not in places]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(wanted)} images of '{path}' are not in the data set, the "
            f"first is '{missing[0]}': mend the list."
        )
    return dataset.get_subset([places[img_id] for img_id in wanted])

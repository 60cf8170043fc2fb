"""The images of a split, or of a list of ids, and what data workers prepare of them.

They are seen as a test sees them: without crops or mirror images. Photos that labels are made for
need no masks; where an image has one, it can be loaded too.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from afa.datasets import LoadPhoto
from afa.datasets.wsss_dataset import read_split
from afa.engine.config.components import find_component
from afa.engine.config.files import leaf_datasets
from afa.files.crf import crf_photo

SPLITS = ("train", "val", "test")
_MASK_STEPS = ("LoadAnnotations", "LoadOptionalMask")

T = TypeVar("T")


class SplitData:
    """Images with their ids, photos, image labels and masks; ``num_workers`` prepare them.

    Args:
        cfg: a config with data loaders; its components are registered.
        split: ``'train'``, ``'val'`` or ``'test'``, or a file with one image id per line.
        with_labels: whether image labels are read where the data set gives them; without, they
            need not be there.

    Raises:
        ValueError: if there is no such split or file, or the data set has a fault.
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
        loader = cfg.get("val_dataloader") or cfg.get("test_dataloader") or {}
        # Those of the evaluation, at most the cores.
        self.num_workers = min(int(loader.get("num_workers", 0)), os.cpu_count() or 1)
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
            index: of the image.
            size: height and width of its photo.

        Returns:
            (H, W) uint8: 0 background, 1..K foreground, 255 unknown.

        Raises:
            ValueError: if it cannot be read or has another size.
        """
        info = self.dataset.get_data_info(index)
        mask = self._load_mask(dict(info, ori_shape=size))["gt_seg_map"]
        if mask.shape != tuple(size):
            raise ValueError(
                f"The mask '{info['seg_map_path']}' has {mask.shape[0]} x {mask.shape[1]} pixels "
                f"(height x width), its photo {size[0]} x {size[1]}: they must agree."
            )
        return mask

    def images_with_mask(self) -> frozenset[int]:
        """Find the images that figures can be given for.

        Raises:
            ValueError: if there is none.
        """
        masks = frozenset(index for index in range(len(self)) if self.has_mask(index))
        if not masks:
            raise ValueError(
                f"--evaluate and --sweep need masks, but no image of '{self.split}' has one "
                "(data_prefix.seg_map_path of the data set): leave them out."
            )
        return masks


def split_name(split: str) -> str:
    """Give the name of a split for a folder: that of a list without its path and suffix."""
    return split if split in SPLITS else Path(split).stem


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


class Item(NamedTuple):
    """What a data worker has prepared of an image.

    Args:
        packed: ``inputs`` and ``data_samples`` of the test pipeline.
        size: height and width of the photo.
        photo: (H', W', 3) uint8 RGB for the CRF, perhaps reduced; None where there is none.
        truth: (H, W) uint8 mask, or None.
    """

    packed: dict[str, Any]
    size: tuple[int, int]
    photo: np.ndarray | None
    truth: np.ndarray | None


def prepare_item(data: SplitData, max_side: int | None, with_mask: bool, index: int) -> Item:
    """Prepare an image for the network.

    Args:
        data: the images.
        max_side: longest side of the photo that goes along for the CRF; None for none.
        with_mask: whether its mask goes along, where there is one.
        index: of the image.
    """
    packed = data.dataset[index]
    height, width = packed["data_samples"].metainfo["ori_shape"][:2]
    photo = None
    if max_side is not None:
        photo = data.photo(index)
        if photo.shape[:2] != (height, width):
            raise ValueError(
                f"Photo '{data.ids[index]}' is {photo.shape[:2]} but its test pipeline says "
                f"{(height, width)}: it must load the photo first, and resize after."
            )
        photo = crf_photo(photo, max_side)
    truth = data.mask(index, (height, width)) if with_mask and data.has_mask(index) else None
    return Item(packed, (height, width), photo, truth)


def prepared(
    prepare: Callable[[int], T], indices: Sequence[int], num_workers: int
) -> Iterator[tuple[int, T]]:
    """Prepare images in data workers, in their order.

    Args:
        prepare: makes the item of an image; it and the item can be pickled.
        indices: the images.
        num_workers: how many data workers; 0 for this process.

    Yields:
        Index of an image, and its item.

    Raises:
        ValueError: what is wrong with an image, without the traceback of the data worker.
    """
    items = _Items(prepare, indices)
    loader = DataLoader(items, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)
    for index, item, problem in loader:
        if problem is not None:
            raise ValueError(problem)
        yield index, item


class _Items(Dataset):
    """Items of images; what is wrong with one comes as a sentence, not as a traceback."""

    def __init__(self, prepare: Callable[[int], Any], indices: Sequence[int]) -> None:
        self.prepare = prepare
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, Any, str | None]:
        index = self.indices[place]
        try:
            return index, self.prepare(index), None
        except (ValueError, OSError) as error:
            return index, None, str(error)


def _as_it_is(item: Any) -> Any:
    return item

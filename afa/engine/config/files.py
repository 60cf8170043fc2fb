"""Check that the files which a config names are there."""

import inspect
import os.path as osp
from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import DATASETS

from afa.engine.config.components import find_component

_HOW_DATA = "put the data there, or set data_root (see docs/data.md)"


def leaf_datasets(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the data sets in a `dataset=` entry, those inside wrappers too.

    Args:
        node: The entry.
        path: Its place in the config, for messages.

    Yields:
        Place and entry of each data set that is not a wrapper.
    """
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from leaf_datasets(item, f"{path}[{index}]")
    elif isinstance(node, Mapping):
        inner = [key for key in ("dataset", "datasets") if key in node]
        if not inner:
            yield path, node
        for key in inner:
            yield from leaf_datasets(node[key], f"{path}.{key}")


def stage_datasets(cfg: Mapping[str, Any], stages: tuple[str, ...]) -> list[tuple[str, Any]]:
    """List place and entry of the data sets that the loaders of some stages read."""
    found: list[tuple[str, Any]] = []
    for key in (f"{stage}_dataloader" for stage in stages):
        if isinstance(cfg.get(key), Mapping):
            found += leaf_datasets(cfg[key].get("dataset"), f"{key}.dataset")
    return found


def _argument(dataset: Mapping[str, Any], name: str) -> Any:
    """Return an argument of a data set, from the config or from the signature of its class."""
    if name in dataset:
        return dataset[name]
    component = find_component(dataset.get("type"), DATASETS)
    for cls in getattr(component, "__mro__", ()):
        parameter = inspect.signature(cls.__init__).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return parameter.default
    return None


def _is_remote(path: str) -> bool:
    return "://" in path


def _check_dataset(dataset: Mapping[str, Any], path: str) -> Iterator[str]:
    root = _argument(dataset, "data_root") or ""
    if _is_remote(root) or _argument(dataset, "backend_args"):
        return
    if root and not osp.isdir(root):
        yield f"{path}: there is no folder '{root}' (data_root): {_HOW_DATA}."
        return
    ann_file = _argument(dataset, "ann_file")
    if isinstance(ann_file, str) and ann_file:
        full = osp.join(root, ann_file)
        if not osp.exists(full):
            yield f"{path}: there is no file '{full}' (ann_file): {_HOW_DATA}."
        elif osp.isfile(full) and osp.getsize(full) == 0:
            yield f"{path}: '{full}' (ann_file) is empty: a split needs at least one image."
    for name in ("image_labels", "sub_labels"):
        labels = _argument(dataset, name)
        if isinstance(labels, str) and labels and not osp.exists(osp.join(root, labels)):
            yield f"{path}: there is no '{osp.join(root, labels)}' ({name}): {_HOW_DATA}."
    for name, folder in (_argument(dataset, "data_prefix") or {}).items():
        # Training from image labels needs no masks, nor does a set that has masks of some images.
        steps = [step.get("type") for step in dataset.get("pipeline") or []]
        optional = name == "seg_map_path" and "LoadAnnotations" not in steps
        full = osp.join(root, folder) if isinstance(folder, str) else ""
        if full and not optional and not osp.isdir(full):
            without = "; tools/test.py --format-only needs no masks" * (name == "seg_map_path")
            yield f"{path}: there is no folder '{full}' (data_prefix.{name}): {_HOW_DATA}{without}."


def _check_pretrained(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _check_pretrained(item, f"{path}[{index}]")
    elif isinstance(node, Mapping):
        checkpoint = node.get("checkpoint")
        if node.get("type") == "Pretrained" and isinstance(checkpoint, str):
            yield from _check_checkpoint(checkpoint, f"{path}.checkpoint")
        for key, value in node.items():
            yield from _check_pretrained(value, f"{path}.{key}")


def _check_checkpoint(checkpoint: str, path: str) -> Iterator[str]:
    if not _is_remote(checkpoint) and not osp.isfile(osp.expanduser(checkpoint)):
        yield (
            f"{path}: there is no checkpoint '{checkpoint}': download or convert it first, "
            f"or set {path} to None to do without."
        )


def check_files(cfg: Mapping[str, Any], stages: tuple[str, ...]) -> list[str]:
    """Name the files and folders that are missing.

    Args:
        cfg: The config.
        stages: Which of 'train', 'val' and 'test' will run. Initial weights count for 'train'.

    Returns:
        One sentence for each problem.
    """
    problems: list[str] = []
    for stage in stages:
        loader = cfg.get(f"{stage}_dataloader")
        if isinstance(loader, Mapping):
            for path, dataset in leaf_datasets(
                loader.get("dataset"), f"{stage}_dataloader.dataset"
            ):
                problems += _check_dataset(dataset, path)
    if "train" in stages:
        problems += _check_pretrained(cfg.get("model"), "model")
    if isinstance(cfg.get("load_from"), str):
        problems += _check_checkpoint(cfg["load_from"], "load_from")
    return problems

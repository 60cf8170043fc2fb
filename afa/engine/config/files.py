"""Check what the data sets of a config stand for: files that are there, classes that agree."""

import inspect
import os.path as osp
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from mmseg.registry import DATASETS

from afa.engine.config.components import find_component, nested_dicts
from afa.utils.class_names import clean_names
from afa.utils.first_process import first_process
from afa.utils.hub import fetch, is_hub_address

STAGES = ("train", "val", "test")
# Where a model has its heads, also one that is wrapped for testing (module).
_HEADS = re.compile(r"model(\.(\w*head|module)|\[\d+\])*")


def leaf_datasets(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and entry of the data sets in a `dataset=` entry, those inside wrappers."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from leaf_datasets(item, f"{path}[{index}]")
    elif isinstance(node, Mapping):
        inner = [key for key in ("dataset", "datasets") if key in node]
        if not inner:
            yield path, node
        for key in inner:
            yield from leaf_datasets(node[key], f"{path}.{key}")


def stage_datasets(cfg: Mapping[str, Any], stages: Sequence[str]) -> list[tuple[str, Any]]:
    """List place and entry of the data sets that the loaders of some stages read."""
    found: list[tuple[str, Any]] = []
    for key in (f"{stage}_dataloader" for stage in stages):
        if isinstance(cfg.get(key), Mapping):
            found += leaf_datasets(cfg[key].get("dataset"), f"{key}.dataset")
    return found


def check_files(cfg: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    """Name the files and folders that some stages miss, in a sentence each.

    Initial weights count for 'train' alone.
    """
    for path, dataset in stage_datasets(cfg, stages):
        yield from _check_dataset(dataset, path)
    for node, key, path in _weights(cfg, stages):
        file = node.get(key)
        if isinstance(file, str) and "://" not in file and not osp.isfile(osp.expanduser(file)):
            yield (
                f"{path}: there is no checkpoint '{file}': download or convert it first, "
                f"or set {path} to None to do without."
            )


def _weights(cfg: Mapping[str, Any], stages: Sequence[str]) -> Iterator[tuple[Any, str, str]]:
    """Yield the dict, the key in it, and the place of each file of weights."""
    for path, node in nested_dicts(cfg.get("model"), "model") if "train" in stages else ():
        if node.get("type") == "Pretrained":
            yield node, "checkpoint", f"{path}.checkpoint"
    yield cfg, "load_from", "load_from"


def pin_weights(cfg: Mapping[str, Any], stages: Sequence[str]) -> None:
    """Fetch weights of the Hugging Face hub, and put the address with their commit into a config.

    The first process fetches for all. The config that a run leaves names the files as they were.

    Raises:
        ValueError: If they cannot be fetched.
    """
    for node, key, _ in _weights(cfg, stages):
        if isinstance(file := node.get(key), str) and is_hub_address(file):
            node[key] = first_process(partial(_pinned, file))


def _pinned(address: str) -> str:
    return fetch(address).pinned


def _check_dataset(dataset: Mapping[str, Any], path: str) -> Iterator[str]:
    root = _argument(dataset, "data_root") or ""
    if "://" in root or _argument(dataset, "backend_args"):
        return
    component = find_component(dataset.get("type"), DATASETS)
    how = getattr(component, "prepare_hint", "put the data there, or set data_root")
    if root and not osp.isdir(root):
        yield f"{path}: there is no folder '{root}' (data_root): {how}."
        return
    ann_file = _argument(dataset, "ann_file")
    if isinstance(ann_file, str) and ann_file:
        full = osp.join(root, ann_file)
        if not osp.exists(full):
            yield f"{path}: there is no file '{full}' (ann_file): {how}."
        elif osp.isfile(full) and osp.getsize(full) == 0:
            yield f"{path}: '{full}' (ann_file) is empty: a split needs at least one image."
    for name in ("image_labels", "sub_labels"):
        labels = _argument(dataset, name)
        if isinstance(labels, str) and labels and not osp.exists(osp.join(root, labels)):
            yield f"{path}: there is no '{osp.join(root, labels)}' ({name}): {how}."
    steps = [step.get("type") for step in dataset.get("pipeline") or []]
    for name, folder in (_argument(dataset, "data_prefix") or {}).items():
        # Training from image labels needs no masks, nor does a set that has masks of some images.
        optional = name == "seg_map_path" and "LoadAnnotations" not in steps
        full = osp.join(root, folder) if isinstance(folder, str) else ""
        if full and not optional and not osp.isdir(full):
            without = "; tools/test.py --format-only needs no masks" * (name == "seg_map_path")
            yield f"{path}: there is no folder '{full}' (data_prefix.{name}): {how}{without}."


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


def dataset_classes(dataset: Mapping[str, Any], read_labels: bool = True) -> list[str] | None:
    """Return the classes of a data set's entry, if known.

    Args:
        dataset: The entry of the config.
        read_labels: Whether to ask data sets that read their classes from a file; they have a
            class method ``classes_of(entry)``.

    Returns:
        The classes of its metainfo, of its class, or of its labels, background first; or None.

    Raises:
        ValueError: If the labels cannot be read.
    """
    component = find_component(dataset.get("type"), DATASETS)
    if hasattr(component, "classes_of"):
        return component.classes_of(dataset) if read_labels else None
    own = (dataset.get("metainfo") or {}).get("classes")
    classes = own or getattr(component, "METAINFO", {}).get("classes")
    if not isinstance(classes, (list, tuple)):
        return None
    return list(clean_names(classes, "metainfo.classes"))


def classes_of_stage(cfg: Mapping[str, Any], stage: str) -> list[str] | None:
    """Return the classes of the first data set of a stage that has any."""
    found = (dataset_classes(dataset) for _, dataset in stage_datasets(cfg, (stage,)))
    return next((classes for classes in found if classes), None)


def _heads(cfg: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List place and entry of what has num_classes: model and heads."""
    nodes = nested_dicts(cfg.get("model"), "model")
    return [(path, n) for path, n in nodes if "num_classes" in n and _HEADS.fullmatch(path)]


def fill_num_classes(cfg: Any) -> None:
    """Give heads with ``num_classes=None`` the number of classes of the training set.

    Nothing happens where the data are not there: the check of a run says so.

    Raises:
        ValueError: If the labels cannot be read.
    """
    empty = [head for _, head in _heads(cfg) if head["num_classes"] is None]
    for _, dataset in stage_datasets(cfg, ("train",)) if empty else ():
        if classes := dataset_classes(dataset):
            for head in empty:
                head["num_classes"] = len(classes)


def check_classes(cfg: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    """Compare the classes of the data sets with those of the heads; yield a sentence each.

    Only the labels of the stages that will run are read.
    """
    heads = [(path, head["num_classes"]) for path, head in _heads(cfg)]
    empty = [path for path, number in heads if number is None]
    if empty:
        yield (
            f"{', '.join(empty)}: num_classes is None, to be counted in the labels of the training "
            "set, which are not there: set data_root to their folder, or use the config that a run "
            "left in its work dir."
        )
    for path, dataset in stage_datasets(cfg, STAGES):
        try:
            classes = dataset_classes(dataset, path.partition("_dataloader")[0] in stages)
        except ValueError as error:
            yield f"{path}: {error}"
            continue
        for head, number in heads:
            if classes and isinstance(number, int) and number != len(classes):
                yield (
                    f"{head}: num_classes is {number}, but {path} has {len(classes)} classes "
                    "(the background counts)."
                )

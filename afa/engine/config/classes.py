"""Compare or fill in the number of classes: of the heads of a model, and of the data sets."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import DATASETS

from afa.engine.config.components import find_component
from afa.engine.config.files import stage_datasets

_STAGES = ("train", "val", "test")


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
    return list(classes) if isinstance(classes, (list, tuple)) else None


def _heads(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Find model and heads that have num_classes."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _heads(item, f"{path}[{index}]")
    elif isinstance(node, Mapping):
        if "num_classes" in node:
            yield path, node
        for key, value in node.items():
            if key.endswith("head") or key == "module":  # of a model that is wrapped for testing
                yield from _heads(value, f"{path}.{key}")


def fill_num_classes(cfg: Any) -> None:
    """Give heads with ``num_classes=None`` the number of classes of the training set.

    Nothing happens where the data are not there: the check of a run says so.

    Args:
        cfg: The config, changed in place.

    Raises:
        ValueError: If the labels cannot be read.
    """
    empty = [head for _, head in _heads(cfg.get("model"), "model") if head["num_classes"] is None]
    for _, dataset in stage_datasets(cfg, ("train",)) if empty else ():
        if classes := dataset_classes(dataset):
            for head in empty:
                head["num_classes"] = len(classes)


def check_classes(cfg: Mapping[str, Any], stages: tuple[str, ...]) -> Iterator[str]:
    """Compare the classes of the data sets with those of the heads.

    Args:
        cfg: The config.
        stages: Which stages will run: only their labels are read.

    Yields:
        One sentence for each problem.
    """
    heads = [(path, head["num_classes"]) for path, head in _heads(cfg.get("model"), "model")]
    empty = [path for path, number in heads if number is None]
    if empty:
        yield (
            f"{', '.join(empty)}: num_classes is None, to be counted in the labels of the training "
            "set, which are not there: set data_root to their folder, or use the config that a run "
            "left in its work dir."
        )
    for stage in _STAGES:
        for path, dataset in stage_datasets(cfg, (stage,)):
            try:
                classes = dataset_classes(dataset, read_labels=stage in stages)
            except ValueError as error:
                yield f"{path}: {error}"
                continue
            for head, number in heads:
                if classes and isinstance(number, int) and number != len(classes):
                    yield (
                        f"{head}: num_classes is {number}, but {path} has {len(classes)} classes "
                        "(the background counts)."
                    )

"""Check the form of a config: what must be there, what must be a dict, which numbers can be.

The other checks, and mmengine itself, take the form for granted.
"""

import logging
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What mmengine wants all of, or none of.
_TOGETHER = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "val": ("val_dataloader", "val_cfg", "val_evaluator"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}
_DICTS = (
    "model", "tta_model", "data_preprocessor", "optim_wrapper", "train_cfg", "val_cfg", "test_cfg",
    "train_dataloader", "val_dataloader", "test_dataloader", "default_hooks", "visualizer",
    "log_processor", "env_cfg", "randomness", "model_wrapper_cfg", "custom_imports",
)  # fmt: skip
_REAL = (int, float)
_LISTS = ("custom_hooks",)
_DICTS_OR_LISTS = ("param_scheduler", "val_evaluator", "test_evaluator")
_TEXTS = ("work_dir", "load_from", "default_scope", "experiment_name", "launcher")
# Entries that are components: a dict with a type. Inside of the model also what begins or ends so.
_COMPONENTS = ("backbone", "neck", "refiner", "dataset", "sampler", "batch_sampler", "optimizer")
_COMPONENT_LISTS = ("pipeline", "transforms", "datasets", "vis_backends", "metrics")
# Whole numbers and the least that they can be.
_LEAST = {
    "train_cfg.max_iters": 1,
    "train_cfg.max_epochs": 1,
    "train_cfg.val_interval": 1,
    "optim_wrapper.accumulative_counts": 1,
    "default_hooks.logger.interval": 1,
    "randomness.seed": 0,
    **{f"{stage}_dataloader.batch_size": 1 for stage in _TOGETHER},
    **{f"{stage}_dataloader.num_workers": 0 for stage in _TOGETHER},
}


def check_form(cfg: Mapping[str, Any], stages: Sequence[str] = ()) -> list[str]:
    """Name what is missing, of the wrong kind, or a number that cannot be.

    Args:
        cfg: The config.
        stages: Which of 'train', 'val' and 'test' a runner is built for; none for prediction.

    Returns:
        One sentence for each problem.
    """
    problems = list(_check_kinds(cfg))
    if problems:
        return problems
    if stages:
        problems += [*_check_presence(cfg, stages), *_check_preprocessor(cfg, stages)]
    problems += _check_typed(cfg)
    return problems + [*_check_numbers(cfg), *_check_loaders(cfg), *_check_choices(cfg)]


def _show(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _check_kinds(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Check the kinds of the top-level entries; None stands for an entry that is not there."""
    kinds: list[tuple[tuple[str, ...], Any, str]] = [
        (_DICTS, Mapping, "a dict"),
        (_LISTS, (list, tuple), "a list of dicts"),
        (_DICTS_OR_LISTS, (Mapping, list, tuple), "a dict, or a list of dicts"),
        (_TEXTS, str, "a text"),
    ]
    for keys, kind, what in kinds:
        for key in keys:
            value = cfg.get(key)
            if value is not None and not isinstance(value, kind):
                yield f"{key} must be {what}, got {_show(value)}."


def _check_presence(cfg: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    if not cfg.get("model"):
        yield "The config has no model: give the config of a whole run, such as those in configs/."
    for stage, keys in _TOGETHER.items():
        missing = [key for key in keys if cfg.get(key) is None]
        wanted = stage in stages and stage != "val"  # a training may do without validation
        if missing and (wanted or len(missing) < len(keys)):
            yield (
                f"The config has no {' and no '.join(missing)}: {', '.join(keys)} go together; "
                "give all of them" + ("." if wanted else ", or set all of them to None.")
            )


def _check_preprocessor(cfg: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    """Check what mmseg's preprocessor says with an assertion in the first step of a training."""
    made = _find(cfg, "model.data_preprocessor") or cfg.get("data_preprocessor")
    if "train" not in stages or not isinstance(made, Mapping):
        return
    given = [name for name in ("size", "size_divisor") if made.get(name) is not None]
    if made.get("type") == "SegDataPreProcessor" and len(given) != 1:
        yield (
            "model.data_preprocessor needs one of size and size_divisor for training, got "
            f"{' and '.join(given) or 'neither'}: size=(height, width) is that of the crop."
        )


def _check_typed(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Check that every component is a dict that says which one it is."""
    for name, hook in (cfg.get("default_hooks") or {}).items():
        if hook is not None:
            yield from _component(hook, f"default_hooks.{name}", " (None switches it off)")
    for key in ("custom_hooks", *_DICTS_OR_LISTS):
        value = cfg.get(key)
        if isinstance(value, Mapping) and key.endswith("_evaluator") and "metrics" in value:
            value = value["metrics"]
        if key == "param_scheduler" and isinstance(value, Mapping) and "type" not in value:
            continue  # of several optimizers, by their names
        for place, item in _items(value, key):
            yield from _component(item, place)
    for key in ("model", "tta_model"):
        if cfg.get(key) is not None:
            yield from _component(cfg[key], key) if key == "model" else ()
            yield from _nested(cfg[key], key, in_model=True)
    wrapper = cfg.get("optim_wrapper")
    if wrapper is not None and not {"optimizer", "constructor"} & set(wrapper):
        yield "optim_wrapper has no optimizer: optimizer=dict(type='AdamW', lr=...) is wanted."
    for key in ("train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper"):
        yield from _nested(cfg.get(key), key)
    if isinstance(cfg.get("visualizer"), Mapping):
        yield from _nested(cfg["visualizer"], "visualizer")


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return [] if value is None else [(path, value)]


def _component(node: Any, path: str, hint: str = "") -> Iterator[str]:
    """Check one component; what is built already, or can be called, is taken as it is."""
    if isinstance(node, Mapping):
        if node.get("type") is None:
            yield f"{path} has no type: a dict(type='...', ...) says what it is."
    elif isinstance(node, (str, int, float, list, tuple)):
        yield f"{path} must be a dict(type='...', ...){hint}, got {_show(node)}."


def _nested(node: Any, path: str, in_model: bool = False) -> Iterator[str]:
    """Check the components below a node."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _nested(item, f"{path}[{index}]", in_model)
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        place = f"{path}.{key}"
        if key in _COMPONENT_LISTS and value is not None and not isinstance(value, (list, tuple)):
            yield f"{place} must be a list of dicts, got {_show(value)}."
        elif key in _COMPONENT_LISTS:
            for inner, item in _items(value, place):
                yield from _component(item, inner) if not isinstance(item, (list, tuple)) else ()
        elif key in _COMPONENTS or (in_model and _is_part(key)):
            for inner, item in _items(value, place):
                if key in _COMPONENTS or isinstance(item, Mapping):
                    yield from _component(item, inner)
        yield from _nested(value, place, in_model)


def _is_part(key: str) -> bool:
    return key.endswith("_head") or key.startswith("loss_")


def _check_numbers(cfg: Mapping[str, Any]) -> Iterator[str]:
    for path, least in _LEAST.items():
        value = _find(cfg, path)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, _REAL) or not float(value).is_integer():
            yield f"{path} must be a whole number, {least} or more, got {_show(value)}."
        elif value < least:
            yield f"{path} must be {least} or more, got {value}."
    rate = _find(cfg, "optim_wrapper.optimizer.lr")
    if rate is not None and not (isinstance(rate, _REAL) and rate >= 0):
        yield f"optim_wrapper.optimizer.lr must be a number, 0 or more, got {_show(rate)}."
    interval = _find(cfg, "default_hooks.checkpoint.interval")
    if isinstance(interval, _REAL) and interval != -1 and interval < 1:
        yield (
            "default_hooks.checkpoint.interval must be 1 or more (or -1: save nothing in between), "
            f"got {interval}."
        )


def _check_loaders(cfg: Mapping[str, Any]) -> Iterator[str]:
    for key in (f"{stage}_dataloader" for stage in _TOGETHER):
        loader = cfg.get(key) or {}
        if loader and loader.get("dataset") is None:
            yield f"{key} has no dataset: dataset=dict(type='...', ...) says what is read."
        alone = not loader.get("num_workers")
        for name in ("persistent_workers", "prefetch_factor"):
            if alone and loader.get(name):
                yield f"{key}.{name} needs workers: set {key}.num_workers, or leave it out."


def _check_choices(cfg: Mapping[str, Any]) -> Iterator[str]:
    level = cfg.get("log_level")
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield f"log_level must be DEBUG, INFO, WARNING or ERROR, got '{level}'."
    method, methods = _find(cfg, "env_cfg.mp_cfg.mp_start_method"), _start_methods()
    if method is not None and method not in methods:
        yield f"env_cfg.mp_cfg.mp_start_method must be one of {', '.join(methods)}, got '{method}'."


def _start_methods() -> list[str]:
    return multiprocessing.get_all_start_methods()


def _find(cfg: Mapping[str, Any], path: str) -> Any:
    node: Any = cfg
    for name in path.split("."):
        node = node.get(name) if hasattr(node, "get") else None  # a Config is no Mapping
    return node

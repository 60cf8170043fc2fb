"""Check a config before anything starts.

mmengine forgives silently: a misspelt top-level key is ignored, and so is a `train_pipeline` that
a child config overrides after its base has already put the old one into the loader. Here a run
does not start with such a config; what is wrong is said in one sentence each, all at once. The
form is checked first (what must be there, what must be a dict, which numbers can be): the other
checks, and mmengine itself, take it for granted.
"""

import ast
import importlib.util
import inspect
import logging
import multiprocessing
import os.path as osp
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.runner import Runner

from afa.engine.config.components import LOADERS, check_components, nearest, nested_dicts
from afa.engine.config.files import STAGES, check_classes, check_files, stage_datasets
from afa.engine.config.load import HELPER_KEYS, find_pipelines

RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | {
    "activation_checkpointing", "compile", "custom_imports", "efficient_conv_bn_eval",
    "find_unused_parameters", "model_wrapper_cfg", "rehearse", "runner_type", "sync_bn",
    "tta_model",
}  # fmt: skip
_KNOWN_ENTRIES = {
    "env_cfg": {"cudnn_benchmark", "tf32", "mp_cfg", "dist_cfg", "resource_limit"},
    "randomness": {"seed", "deterministic", "diff_rank_seed"},
}
_PIPELINE_LOADERS = {"train": ("train",), "val": ("val", "test"), "test": ("val", "test")}

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
_DICTS_OR_LISTS = ("param_scheduler", "val_evaluator", "test_evaluator")
_TEXTS = ("work_dir", "load_from", "default_scope", "experiment_name", "launcher")
_KINDS: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (_DICTS, Mapping, "a dict"),
    (("custom_hooks",), (list, tuple), "a list of dicts"),
    (_DICTS_OR_LISTS, (Mapping, list, tuple), "a dict, or a list of dicts"),
    (_TEXTS, str, "a text"),
    (("rehearse",), bool, "True or False"),
)
# Entries that are components: a dict with a type. Inside of the model also what begins or ends so.
_COMPONENTS = ("backbone", "neck", "refiner", "dataset", "sampler", "batch_sampler", "optimizer")
_COMPONENT_LISTS = ("pipeline", "transforms", "datasets", "vis_backends", "metrics")
# Which packages mmengine's backends import, one of them, when a run begins.
_BACKEND_PACKAGES = {
    "AimVisBackend": ("aim",),
    "ClearMLVisBackend": ("clearml",),
    "DVCLiveVisBackend": ("dvclive",),
    "MLflowVisBackend": ("mlflow",),
    "NeptuneVisBackend": ("neptune",),
    "TensorboardVisBackend": ("tensorboard", "tensorboardX"),
    "WandbVisBackend": ("wandb",),
}
_EXTRAS = ("clearml", "mlflow", "wandb")  # of setup.cfg
# Whole numbers and the least that they can be.
_LEAST = {
    "train_cfg.max_iters": 1,
    "train_cfg.max_epochs": 1,
    "train_cfg.val_interval": 1,
    "optim_wrapper.accumulative_counts": 1,
    "default_hooks.logger.interval": 1,
    "randomness.seed": 0,
    **{f"{loader}.batch_size": 1 for loader in LOADERS},
    **{f"{loader}.num_workers": 0 for loader in LOADERS},
}


class ConfigError(ValueError):
    """A config that cannot run; the text has one line for each problem."""


def check_shape(cfg: Mapping[str, Any], stages: Sequence[str] = ()) -> None:
    """Check only that the parts of a config are there and of the right kind.

    Args:
        cfg: The config.
        stages: Which of 'train', 'val' and 'test' a runner is built for.

    Raises:
        ConfigError: If they are not; with one line for each problem.
    """
    problems = check_form(cfg, stages)
    if problems:  # what is missing may be misspelt
        _refuse([*_check_top_level(cfg), *problems])


def check_config(cfg: Mapping[str, Any], stages: Sequence[str] = STAGES) -> None:
    """Check a config: keys, arguments, overrides, classes and files.

    Args:
        cfg: The config, with its components registered (custom_imports done).
        stages: Which of 'train', 'val' and 'test' will run: only their files must be there.

    Raises:
        ConfigError: If anything is wrong; with one line for each problem.
    """
    check_shape(cfg)
    problems = [*_check_top_level(cfg), *check_components(cfg)]
    problems += _check_packages(cfg)
    problems += [*_check_pipelines(cfg), *_check_data_root(cfg), *_check_overrides(cfg)]
    _refuse([*problems, *check_files(cfg, stages), *check_classes(cfg, stages)])


def data_entries(cfg: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """Return the data sets that some stages read, once their entries are found to be right.

    Args:
        cfg: The config.
        stages: Some of 'train', 'val' and 'test'; those without a loader are left out.

    Returns:
        Name of the stage (with its place, if it has several sets) and entry of each data set.

    Raises:
        ConfigError: If an entry is wrong, its folder is not there, or no stage has a loader.
    """
    check_shape(cfg)
    loaders = [f"{stage}_dataloader" for stage in stages]
    problems = [*check_components(cfg), *check_files(cfg, stages)]
    problems = [line for line in problems if line.partition(".")[0] in loaders]
    entries = {
        path.replace("_dataloader.dataset", ""): dict(entry)
        for path, entry in stage_datasets(cfg, stages)
    }
    if not entries:
        problems.append(f"The config has no data set for {', '.join(stages)}.")
    _refuse(problems)
    return entries


def _refuse(problems: Iterable[str]) -> None:
    if text := "\n".join(dict.fromkeys(problems)):
        raise ConfigError(text)


def check_form(cfg: Mapping[str, Any], stages: Sequence[str] = ()) -> list[str]:
    """Name what is missing, of the wrong kind, or a number that cannot be: one sentence each.

    The stages are those of :func:`check_shape`; none for prediction.
    """
    problems = [
        f"{key} must be {what}, got {_show(cfg[key])}."
        for keys, kind, what in _KINDS
        for key in keys
        if cfg.get(key) is not None and not isinstance(cfg[key], kind)
    ]
    if problems:
        return problems
    if stages:
        problems += [*_check_presence(cfg, stages), *_check_preprocessor(cfg, stages)]
    problems += _check_typed(cfg)
    return problems + [*_check_numbers(cfg), *_check_loaders(cfg), *_check_choices(cfg)]


def _show(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


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
        yield from _component(hook, f"default_hooks.{name}", " (None switches it off)")
    for key in ("custom_hooks", *_DICTS_OR_LISTS):
        value = cfg.get(key)
        if isinstance(value, Mapping) and key.endswith("_evaluator") and "metrics" in value:
            value = value["metrics"]
        if key == "param_scheduler" and isinstance(value, Mapping) and "type" not in value:
            continue  # of several optimizers, by their names
        yield from _components(value, key)
    yield from _component(cfg.get("model"), "model")
    for key in ("model", "tta_model"):
        yield from _nested(cfg.get(key), key, in_model=True)
    wrapper = cfg.get("optim_wrapper")
    if wrapper is not None and not {"optimizer", "constructor"} & set(wrapper):
        yield "optim_wrapper has no optimizer: optimizer=dict(type='AdamW', lr=...) is wanted."
    for key in (*LOADERS, "optim_wrapper", "visualizer"):
        yield from _nested(cfg.get(key), key)


def _component(node: Any, path: str, hint: str = "") -> Iterator[str]:
    """Check one component; what is built already, or can be called, is taken as it is."""
    if isinstance(node, Mapping):
        if node.get("type") is None:
            yield f"{path} has no type: a dict(type='...', ...) says what it is."
    elif isinstance(node, (str, int, float, list, tuple)):
        yield f"{path} must be a dict(type='...', ...){hint}, got {_show(node)}."


def _components(value: Any, path: str, only_dicts: bool = False) -> Iterator[str]:
    """Check one component or a list of them."""
    items = [(path, value)]
    if isinstance(value, (list, tuple)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    for place, item in items:
        if isinstance(item, Mapping) or not only_dicts:
            yield from _component(item, place)


def _nested(root: Any, path: str, in_model: bool = False) -> Iterator[str]:
    """Check the components below a node."""
    for place, node in nested_dicts(root, path):
        for key, value in node.items():
            inner = f"{place}.{key}"
            if key in _COMPONENT_LISTS:
                if value is not None and not isinstance(value, (list, tuple)):
                    yield f"{inner} must be a list of dicts, got {_show(value)}."
                    continue
                for index, item in enumerate(value or ()):
                    if not isinstance(item, (list, tuple)):  # variants of test-time augmentation
                        yield from _component(item, f"{inner}[{index}]")
            elif key in _COMPONENTS:
                yield from _components(value, inner)
            elif in_model and (key.endswith("_head") or key.startswith("loss_")):
                yield from _components(value, inner, only_dicts=True)


def _check_numbers(cfg: Mapping[str, Any]) -> Iterator[str]:
    for path, least in _LEAST.items():
        value = _find(cfg, path)
        if value is None:
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not float(value).is_integer():
            yield f"{path} must be a whole number, {least} or more, got {_show(value)}."
        elif value < least:
            yield f"{path} must be {least} or more, got {value}."
    rate = _find(cfg, "optim_wrapper.optimizer.lr")
    if rate is not None and not (isinstance(rate, (int, float)) and rate >= 0):
        yield f"optim_wrapper.optimizer.lr must be a number, 0 or more, got {_show(rate)}."
    interval = _find(cfg, "default_hooks.checkpoint.interval")
    if isinstance(interval, (int, float)) and interval != -1 and interval < 1:
        yield (
            "default_hooks.checkpoint.interval must be 1 or more (or -1: save nothing in between), "
            f"got {interval}."
        )


def _check_loaders(cfg: Mapping[str, Any]) -> Iterator[str]:
    for key in LOADERS:
        loader = cfg.get(key) or {}
        if loader and loader.get("dataset") is None:
            yield f"{key} has no dataset: dataset=dict(type='...', ...) says what is read."
        for name in ("persistent_workers", "prefetch_factor"):
            if loader.get(name) and not loader.get("num_workers"):
                yield f"{key}.{name} needs workers: set {key}.num_workers, or leave it out."


def _check_choices(cfg: Mapping[str, Any]) -> Iterator[str]:
    level = cfg.get("log_level")
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield f"log_level must be DEBUG, INFO, WARNING or ERROR, got '{level}'."
    method = _find(cfg, "env_cfg.mp_cfg.mp_start_method")
    methods = multiprocessing.get_all_start_methods()
    if method is not None and method not in methods:
        yield f"env_cfg.mp_cfg.mp_start_method must be one of {', '.join(methods)}, got '{method}'."


def _find(cfg: Mapping[str, Any], path: str) -> Any:
    node: Any = cfg
    for name in path.split("."):
        node = node.get(name) if hasattr(node, "get") else None  # a Config is no Mapping
    return node


def _check_top_level(cfg: Mapping[str, Any]) -> Iterator[str]:
    known = RUNNER_KEYS | set(HELPER_KEYS)
    for key in cfg:
        # A leading underscore marks a name of the user's own.
        if key not in known and not key.startswith("_") and not key.endswith("_pipeline"):
            hint = nearest(key, known) or "; a name of your own must begin with '_'."
            yield f"Unknown key '{key}'{hint}"
    for key, entries in _KNOWN_ENTRIES.items():
        for entry in cfg.get(key) or {}:
            if entry not in entries:
                yield f"{key}: no entry '{entry}'{nearest(entry, entries)}"


def _check_packages(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Find what a run is to be drawn with, and is not installed: mmengine finds out late."""
    for index, backend in enumerate(_find(cfg, "visualizer.vis_backends") or ()):
        kind = backend.get("type")
        kind = str(getattr(kind, "__name__", kind)).removeprefix("AFA")  # ours, in their places
        packages = _BACKEND_PACKAGES.get(kind, ())
        if packages and not any(importlib.util.find_spec(name) for name in packages):
            name = f"'afa[{packages[0]}]'" if packages[0] in _EXTRAS else packages[0]
            yield (
                f"visualizer.vis_backends[{index}]: {kind} needs the package {packages[0]}, which "
                f"is not installed: pip install {name}, or take it out of vis_backends (--tracker)."
            )


def _check_pipelines(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Compare each `*_pipeline` with what the loaders use."""
    for key in cfg:
        if not key.endswith("_pipeline") or key == "tta_pipeline":
            continue
        stage = key.removesuffix("_pipeline")
        stages = _PIPELINE_LOADERS.get(stage, STAGES)
        loaders = [name for s in stages if isinstance(cfg.get(name := f"{s}_dataloader"), Mapping)]
        if not loaders or cfg[key] in find_pipelines([cfg[name] for name in loaders]):
            continue
        if stage not in _PIPELINE_LOADERS:
            hint = nearest(key, ("train_pipeline", "val_pipeline", "test_pipeline", "tta_pipeline"))
            yield f"Nothing uses '{key}'{hint or '.'}"
            continue
        yield (
            f"'{key}' is not the pipeline that {' or '.join(loaders)} uses: a child config that "
            f"overrides {key} must also say {loaders[0]} = dict(dataset=dict(pipeline={key}))."
        )


def _check_data_root(cfg: Mapping[str, Any]) -> Iterator[str]:
    root = cfg.get("data_root")
    if not isinstance(root, str):
        return
    used = {d["data_root"] for _, d in stage_datasets(cfg, STAGES) if "data_root" in d}
    if used and all(not osp.normpath(str(path)).startswith(osp.normpath(root)) for path in used):
        yield (
            f"data_root is '{root}', but the loaders use {', '.join(map(repr, sorted(used)))}: a "
            "child config that overrides data_root must override it in the loaders' datasets too."
        )


def _check_overrides(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Find helper names that a child config sets and does not use itself.

    Its base has used up its own value by then, so that the new one has no effect.
    """
    path = getattr(cfg, "filename", None)
    if not path or not osp.isfile(path) or not str(path).endswith(".py"):
        return
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    loaded = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    if "_base_" not in stored:
        return
    for key in sorted((stored - loaded) & set(HELPER_KEYS)):
        if not key.endswith("_pipeline") and key != "data_root":  # compared by value
            yield (
                f"{osp.basename(path)} sets '{key}' without using it, and its base has already "
                f"used its own value: set {HELPER_KEYS[key]} as well."
            )

"""Check a config before anything starts.

mmengine forgives silently: a misspelt top-level key is ignored, and so is a `train_pipeline` that
a child config overrides after its base has already put the old one into the loader. Here a run
does not start with such a config; what is wrong is said in one sentence each, all at once.
"""

import ast
import inspect
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.runner import Runner

from afa.engine.config.classes import check_classes
from afa.engine.config.components import check_components, nearest
from afa.engine.config.files import check_files, stage_datasets
from afa.engine.config.form import check_form

RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | {
    "activation_checkpointing",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "sync_bn",
    "tta_model",
}

# Names that only the config file itself uses -> what to set from outside instead.
HELPER_KEYS: dict[str, str] = {
    "albu_train_transforms": "train_dataloader.dataset.pipeline",
    "backend_args": "train_dataloader.dataset.backend_args",
    "batch_size": "train_dataloader.batch_size",
    "checkpoint": "model.backbone.init_cfg.checkpoint",
    "classes": "train_dataloader.dataset.metainfo.classes",
    "crop_size": "model.data_preprocessor.size and the crop of the pipeline",
    "data_root": "train_dataloader.dataset.data_root, and so on for val and test",
    "dataset_type": "train_dataloader.dataset.type",
    "img_ratios": "the pipeline of the loader",
    "img_scale": "the pipeline of the loader",
    "log_interval": "default_hooks.logger.interval",
    "max_iters": "train_cfg.max_iters (and `end` of param_scheduler)",
    "norm_cfg": "norm_cfg of the model's parts",
    "num_classes": "num_classes of the heads",
    "num_gpus": "the launcher",
    "num_workers": "train_dataloader.num_workers",
    "optimizer": "optim_wrapper.optimizer",
    "phases": "the argument of the hook (custom_hooks.0.phases.pseudo, for example)",
    "seed": "randomness.seed",
    "test_pipeline": "test_dataloader.dataset.pipeline",
    "train_pipeline": "train_dataloader.dataset.pipeline",
    "tta_pipeline": "the pipeline of the loader",
    "val_interval": "train_cfg.val_interval",
    "val_pipeline": "val_dataloader.dataset.pipeline",
    "vis_backends": "visualizer.vis_backends",
    "warmup_iters": "`end` of the first param_scheduler",
}

_KNOWN_ENTRIES = {
    "env_cfg": {"cudnn_benchmark", "tf32", "mp_cfg", "dist_cfg", "resource_limit"},
    "randomness": {"seed", "deterministic", "diff_rank_seed"},
}
_PIPELINE_LOADERS = {"train": ("train",), "val": ("val", "test"), "test": ("val", "test")}


class ConfigError(ValueError):
    """A config that cannot run; the text has one line for each problem."""


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


def find_pipelines(node: Any) -> Iterator[Any]:
    """Yield every pipeline of a loader or a data set, however deep it is."""
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from find_pipelines(item)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key == "pipeline":
                yield value
            else:
                yield from find_pipelines(value)


def _check_pipelines(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Compare each `*_pipeline` with what the loaders use."""
    for key in cfg:
        if not key.endswith("_pipeline") or key == "tta_pipeline":
            continue
        stage = key.removesuffix("_pipeline")
        stages = _PIPELINE_LOADERS.get(stage, ("train", "val", "test"))
        loaders = [name for s in stages if isinstance(cfg.get(name := f"{s}_dataloader"), Mapping)]
        used = [pipeline for name in loaders for pipeline in find_pipelines(cfg[name])]
        if not loaders or cfg[key] in used:
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
    used = {
        d["data_root"] for _, d in stage_datasets(cfg, ("train", "val", "test")) if "data_root" in d
    }
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
        raise ConfigError("\n".join(dict.fromkeys([*_check_top_level(cfg), *problems])))


def check_config(
    cfg: Mapping[str, Any], stages: tuple[str, ...] = ("train", "val", "test")
) -> None:
    """Check a config: keys, arguments, overrides, classes and files.

    Args:
        cfg: The config, with its components registered (custom_imports done).
        stages: Which of 'train', 'val' and 'test' will run: only their files must be there.

    Raises:
        ConfigError: If anything is wrong; with one line for each problem.
    """
    check_shape(cfg)
    problems = [*_check_top_level(cfg), *check_components(cfg)]
    problems += [*_check_pipelines(cfg), *_check_data_root(cfg), *_check_overrides(cfg)]
    problems += [*check_files(cfg, stages), *check_classes(cfg, stages)]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


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
    found = {f"{stage}_dataloader": stage for stage in stages}
    problems = [
        line
        for line in [*check_components(cfg), *check_files(cfg, tuple(stages))]
        if line.partition(".")[0] in found
    ]
    entries = {
        path.replace("_dataloader.dataset", ""): dict(entry)
        for path, entry in stage_datasets(cfg, tuple(stages))
    }
    if not entries:
        problems.append(f"The config has no data set for {', '.join(stages)}.")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return entries

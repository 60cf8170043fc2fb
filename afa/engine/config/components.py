"""Check the components that a config names: their types and their arguments."""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mmseg.registry as registries
from mmengine.registry import Registry
from mmseg.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
)
from torch.utils.data import DataLoader

from afa.utils.settings import wrong_arguments

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

# Top-level key -> registry, and the type that mmengine takes when none is given.
_ROOTS: dict[str, tuple[Registry, str | None]] = {
    "model": (MODELS, None),
    "tta_model": (MODELS, None),
    "data_preprocessor": (MODELS, "BaseDataPreprocessor"),
    "optim_wrapper": (OPTIM_WRAPPERS, "OptimWrapper"),
    "param_scheduler": (PARAM_SCHEDULERS, None),
    "custom_hooks": (HOOKS, None),
    "default_hooks": (HOOKS, None),
    "train_cfg": (LOOPS, "IterBasedTrainLoop"),
    "val_cfg": (LOOPS, "ValLoop"),
    "test_cfg": (LOOPS, "TestLoop"),
    "val_evaluator": (METRICS, None),
    "test_evaluator": (METRICS, None),
    "visualizer": (VISUALIZERS, "Visualizer"),
    "log_processor": (LOG_PROCESSORS, "LogProcessor"),
    "model_wrapper_cfg": (MODEL_WRAPPERS, "MMDistributedDataParallel"),
}

# Key of a nested component -> its registry, where it is not the one of its parent.
_NESTED: dict[str, Registry] = {
    "dataset": DATASETS,
    "datasets": DATASETS,
    "pipeline": TRANSFORMS,
    "transforms": TRANSFORMS,
    "sampler": DATA_SAMPLERS,
    "batch_sampler": DATA_SAMPLERS,
    "init_cfg": WEIGHT_INITIALIZERS,
    "optimizer": OPTIMIZERS,
    "vis_backends": VISBACKENDS,
    "metrics": METRICS,
}

# Arguments that the builders of mmengine and mmcv take out before they call the constructor.
_BUILDER_ARGS: dict[int, set[str]] = {
    id(OPTIM_WRAPPERS): {"optimizer", "constructor", "paramwise_cfg"},
    id(LOOPS): {"by_epoch"},
    id(HOOKS): {"priority"},
    id(PARAM_SCHEDULERS): {"convert_to_iter_based"},
    id(WEIGHT_INITIALIZERS): {"override", "layer"},
}

# Layers: mmcv's build functions add and remove arguments, so that only the type is checked.
_LAYER_KEYS = {"norm_cfg", "act_cfg", "conv_cfg", "upsample_cfg", "padding_cfg"}
# Free dictionaries: data of the user, not components.
_FREE_KEYS = {"metainfo", "meta", "backend_args", "filter_cfg", "custom_keys"}

_PARAMWISE_ARGS = {
    "bias_decay_mult",
    "bias_lr_mult",
    "bypass_duplicate",
    "custom_keys",
    "dcn_offset_lr_mult",
    "dwconv_decay_mult",
    "flat_decay_mult",
    "norm_decay_mult",
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_LOADER_ARGS = {"dataset", "collate_fn", "num_batch_per_epoch", "disable_subprocess_warning"}


def nearest(name: str, right: Iterable[str], cutoff: float = 0.5) -> str:
    """Return "; did you mean 'x'?" with the nearest right name, or an empty text."""
    found = difflib.get_close_matches(name, list(right), n=1, cutoff=cutoff)
    return f"; did you mean '{found[0]}'?" if found else ""


def argument_names(component: Any) -> tuple[set[str], bool]:
    """Collect the keyword arguments that a class or function accepts.

    Where a constructor passes `**kwargs` on, the constructors of its parents count as well.

    Args:
        component: A class or function.

    Returns:
        The names, and whether the signature is open (`**kwargs` down to the last parent), so
        that others may be right as well.
    """
    functions = (
        [vars(cls)["__init__"] for cls in component.__mro__[:-1] if "__init__" in vars(cls)]
        if inspect.isclass(component)
        else [component]
    )
    names: set[str] = set()
    for function in functions:
        parameters = list(inspect.signature(function).parameters.values())
        if inspect.isclass(component):
            parameters = parameters[1:]
        names |= {param.name for param in parameters if param.kind in _NAMED}
        if not any(param.kind is inspect.Parameter.VAR_KEYWORD for param in parameters):
            return names, False
    return names, bool(functions)


def find_component(kind: Any, registry: Registry) -> Any:
    """Find the class of a `type=`, in its registry or else in any other one.

    Args:
        kind: A registered name, or a class or function.
        registry: Where to look first.

    Returns:
        The class or function, or None.
    """
    if not isinstance(kind, str):
        return kind
    every = [r for r in vars(registries).values() if isinstance(r, Registry)]
    for candidate in [registry, *every]:
        found = candidate.get(kind)
        if found is not None:
            return found
    return None


def _registered_names(registry: Registry | None) -> set[str]:
    names: set[str] = set()
    while registry is not None:
        names |= set(registry.module_dict)
        registry = registry.parent
    return names


def _check_component(
    node: Mapping[str, Any], kind: Any, path: str, registry: Registry, types_only: bool
) -> Iterator[str]:
    component = find_component(kind, registry)
    if component is None:
        yield f"{path}: no {registry.name} is named '{kind}'" + (
            nearest(kind, _registered_names(registry)) or "."
        )
        return
    if types_only:
        return
    names, is_open = argument_names(component)
    names |= _BUILDER_ARGS.get(id(registry), set()) | {"type", "_scope_"}
    for key in node:
        # An open signature may take anything; only what is all but a known name is a slip.
        if key in names or (is_open and not nearest(key, names, cutoff=0.8)):
            continue
        title = getattr(component, "__name__", str(component))
        hint = nearest(key, names) or f"; it takes {', '.join(sorted(names))}."
        yield f"{path}: {title} has no argument '{key}'{hint}"
    for key, wanted in wrong_arguments(component, node):
        yield f"{path}.{key} must be {wanted}, got {node[key]!r}."


def _walk(
    node: Any, path: str, registry: Registry, default: str | None = None, types_only: bool = False
) -> Iterator[str]:
    """Check a node of the config and what is nested in it."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _walk(item, f"{path}[{index}]", registry, None, types_only)
    elif isinstance(node, Mapping):
        kind = node.get("type", default)
        if kind is not None:
            yield from _check_component(node, kind, path, registry, types_only)
        for key, value in node.items():
            if key in _FREE_KEYS or not isinstance(value, (Mapping, list, tuple)):
                continue
            yield from _walk(
                value,
                f"{path}.{key}",
                _NESTED.get(key, registry),
                None,
                types_only or key in _LAYER_KEYS,
            )


def _check_loader(loader: Mapping[str, Any], path: str) -> Iterator[str]:
    names = argument_names(DataLoader)[0] | _LOADER_ARGS
    for key in loader:
        if key not in names:
            yield f"{path}: a data loader has no argument '{key}'{nearest(key, names)}"
    for key in ("dataset", "sampler", "batch_sampler"):
        if key in loader:
            yield from _walk(loader[key], f"{path}.{key}", _NESTED[key])


def _check_paramwise(wrapper: Mapping[str, Any]) -> Iterator[str]:
    """Check the options per parameter: mmengine reads the keys it knows and ignores the rest."""
    paramwise = wrapper.get("paramwise_cfg") or {}
    if "constructor" in wrapper:
        return
    for key in paramwise:
        if key not in _PARAMWISE_ARGS:
            yield f"optim_wrapper.paramwise_cfg: no option '{key}'{nearest(key, _PARAMWISE_ARGS)}"
    for name, options in paramwise.get("custom_keys", {}).items():
        for key in options:
            if key not in ("lr_mult", "decay_mult"):
                yield (
                    f"optim_wrapper.paramwise_cfg.custom_keys['{name}']: no option '{key}'"
                    f"{nearest(key, ('lr_mult', 'decay_mult'))}"
                )


def check_components(cfg: Mapping[str, Any]) -> list[str]:
    """Name every unknown type and every unknown argument in a config.

    A component whose signature is open (`**kwargs` to the end) is only checked for arguments
    that are all but a known name.

    Args:
        cfg: The config.

    Returns:
        One sentence for each problem.
    """
    problems: list[str] = []
    for key, (registry, default) in _ROOTS.items():
        node = cfg.get(key)
        if not isinstance(node, (Mapping, list, tuple)):
            continue
        if not isinstance(node, Mapping):
            problems += _walk(node, key, registry)
            continue
        if key == "train_cfg" and node.get("by_epoch", "max_epochs" in node):
            default = "EpochBasedTrainLoop"
        if key.endswith("_evaluator") and "metrics" in node:
            registry, default = EVALUATOR, "Evaluator"
        problems += _walk(node, key, registry, default)
    for key in LOADERS:
        if isinstance(cfg.get(key), Mapping):
            problems += _check_loader(cfg[key], key)
    if isinstance(cfg.get("optim_wrapper"), Mapping):
        problems += _check_paramwise(cfg["optim_wrapper"])
    return problems

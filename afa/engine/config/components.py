"""Check the components that a config names: their types and their arguments."""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mmseg.registry as reg
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader

from afa.utils.settings import (
    called_functions,
    hands_elsewhere,
    passes_on,
    wrong_arguments,
)

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

# Top-level key -> registry, and the type that mmengine takes when none is given.
_ROOTS: dict[str, tuple[Registry, str | None]] = {
    "model": (reg.MODELS, None),
    "tta_model": (reg.MODELS, None),
    "data_preprocessor": (reg.MODELS, "BaseDataPreprocessor"),
    "optim_wrapper": (reg.OPTIM_WRAPPERS, "OptimWrapper"),
    "param_scheduler": (reg.PARAM_SCHEDULERS, None),
    "custom_hooks": (reg.HOOKS, None),
    "default_hooks": (reg.HOOKS, None),
    "train_cfg": (reg.LOOPS, "IterBasedTrainLoop"),
    "val_cfg": (reg.LOOPS, "ValLoop"),
    "test_cfg": (reg.LOOPS, "TestLoop"),
    "val_evaluator": (reg.METRICS, None),
    "test_evaluator": (reg.METRICS, None),
    "visualizer": (reg.VISUALIZERS, "Visualizer"),
    "log_processor": (reg.LOG_PROCESSORS, "LogProcessor"),
    "model_wrapper_cfg": (reg.MODEL_WRAPPERS, "MMDistributedDataParallel"),
}

# Key of a nested component -> its registry, where it is not the one of its parent.
_NESTED: dict[str, Registry] = {
    "dataset": reg.DATASETS,
    "datasets": reg.DATASETS,
    "pipeline": reg.TRANSFORMS,
    "transforms": reg.TRANSFORMS,
    "sampler": reg.DATA_SAMPLERS,
    "batch_sampler": reg.DATA_SAMPLERS,
    "init_cfg": reg.WEIGHT_INITIALIZERS,
    "optimizer": reg.OPTIMIZERS,
    "vis_backends": reg.VISBACKENDS,
    "metrics": reg.METRICS,
}

# Arguments that the builders of mmengine and mmcv take out before they call the constructor.
_BUILDER_ARGS: dict[int, set[str]] = {
    id(reg.OPTIM_WRAPPERS): {"optimizer", "constructor", "paramwise_cfg"},
    id(reg.LOOPS): {"by_epoch"},
    id(reg.HOOKS): {"priority"},
    id(reg.PARAM_SCHEDULERS): {"convert_to_iter_based"},
    id(reg.WEIGHT_INITIALIZERS): {"override", "layer"},
}

# Layers: mmcv's build functions add and remove arguments, so that only the type is checked.
_LAYER_KEYS = {"norm_cfg", "act_cfg", "conv_cfg", "upsample_cfg", "padding_cfg"}
# Free dictionaries: data of the user, not components.
_FREE_KEYS = {"metainfo", "meta", "backend_args", "filter_cfg", "custom_keys"}

_PARAMWISE_ARGS = {
    "bias_decay_mult", "bias_lr_mult", "bypass_duplicate", "custom_keys", "dcn_offset_lr_mult",
    "dwconv_decay_mult", "flat_decay_mult", "norm_decay_mult",
}  # fmt: skip
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# What timm's builder takes out of the arguments of a network.
_TIMM_ARGS = {"feature_cfg", "features_cls", "features_only", "out_indices", "output_stride"}
_LOADER_ARGS = {"dataset", "collate_fn", "num_batch_per_epoch", "disable_subprocess_warning"}


def nested_dicts(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield place and node of every dict in a part of a config, however deep, from the top."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from nested_dicts(item, f"{path}[{index}]")
    elif isinstance(node, (Mapping, Config)):
        yield path, node
        for key, value in node.items():
            yield from nested_dicts(value, f"{path}.{key}" if path else str(key))


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
        The names, and whether the signature is open (`**kwargs` down to the last parent, or on to
        another function), so that others may be right as well.
    """
    functions = called_functions(component)
    skipped = 1 if inspect.isclass(component) else 0  # self
    names: set[str] = set()
    for function in functions:
        parameters = list(inspect.signature(function).parameters.values())[skipped:]
        names |= {param.name for param in parameters if param.kind in _NAMED}
    is_open = bool(functions) and passes_on(functions[-1])
    return names, is_open or any(hands_elsewhere(function) for function in functions)


def _network_arguments(component: Any, node: Mapping[str, Any]) -> set[str]:
    """Collect what timm takes for the network that a component builds with timm.

    Returns:
        The names; empty where the component builds none, or timm cannot tell.
    """
    functions = [f for f in called_functions(component) if hands_elsewhere(f)]
    timm = functions[0].__globals__.get("timm") if functions else None
    name = node.get("model_name", node.get("name"))
    if timm is None or not isinstance(name, str) or not timm.is_model(name):
        return set()
    try:
        with torch.device("meta"):  # shapes without memory
            network = type(timm.create_model(name))
    except RuntimeError:  # a network that computes while it is built
        return set()
    names, is_open = argument_names(network)
    return set() if is_open else names | argument_names(timm.create_model)[0] | _TIMM_ARGS


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
    every = [r for r in vars(reg).values() if isinstance(r, Registry)]
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
    if is_open and set(node) - names and (network := _network_arguments(component, node)):
        names, is_open = names | network, False
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
            if key not in _FREE_KEYS:
                nested, types = _NESTED.get(key, registry), types_only or key in _LAYER_KEYS
                yield from _walk(value, f"{path}.{key}", nested, None, types)


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
    if "constructor" in wrapper:
        return
    place, paramwise = "optim_wrapper.paramwise_cfg", wrapper.get("paramwise_cfg") or {}
    options = [(place, paramwise, _PARAMWISE_ARGS)]
    for name, given in paramwise.get("custom_keys", {}).items():
        options.append((f"{place}.custom_keys['{name}']", given, {"lr_mult", "decay_mult"}))
    for path, given, known in options:
        for key in given:
            if key not in known:
                yield f"{path}: no option '{key}'{nearest(key, known)}"


def check_components(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Name every unknown type and every unknown argument in a config, in a sentence each.

    A component whose signature is open (`**kwargs` to the end) is only checked for arguments
    that are all but a known name.
    """
    for key, (registry, default) in _ROOTS.items():
        node = cfg.get(key)
        if isinstance(node, Mapping):
            if key == "train_cfg" and node.get("by_epoch", "max_epochs" in node):
                default = "EpochBasedTrainLoop"
            if key.endswith("_evaluator") and "metrics" in node:
                registry, default = reg.EVALUATOR, "Evaluator"
        yield from _walk(node, key, registry, default)
    for key in LOADERS:
        if isinstance(cfg.get(key), Mapping):
            yield from _check_loader(cfg[key], key)
    if isinstance(cfg.get("optim_wrapper"), Mapping):
        yield from _check_paramwise(cfg["optim_wrapper"])

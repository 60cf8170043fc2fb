"""The config that a checkpoint carries: plain data, checked before anything is built from it.

A Python config is a program. What a checkpoint carries is not: it is the finished config as dicts,
lists, texts and numbers. Building a network from a stranger's data must not run a stranger's code
either. mmengine imports what ``custom_imports`` names, and takes ``type="subprocess.Popen"`` for a
class to call; here only modules of afa and mmseg are imported, and a type must be a name that they
have registered.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry, root
from mmengine.utils import import_modules_from_strings

from afa.engine.config.components import nested_dicts
from afa.engine.config.load import load_config, merge_options
from afa.utils.checkpoint import load_state
from afa.utils.home import is_config
from afa.utils.hub import is_hub_address

_PACKAGES = ("afa", "mmseg")
_SCOPES = (None, "mmengine", "mmseg")
# What a test or a prediction reads. The rest, hooks above all, stays behind.
_KEPT = re.compile(
    r"(default_scope|custom_imports|model|data_preprocessor|(val|test)_(dataloader|evaluator|cfg)|"
    r"tta_model|\w+_pipeline|data_root|dataset_type|crop_size|num_classes|classes|log_level)"
)
# Where parts would write to: their own defaults lie in the work dir.
_FOLDERS = {"out_dir", "out_file_path", "outfile_prefix", "output_dir", "save_dir"}
_KEY = re.compile(r"[^'\"\\\x00-\x1f]+")
_WHAT_TO_DO = "use a config file that you trust: CONFIG CHECKPOINT"


class UnsafeConfigError(ValueError):
    """A config in a checkpoint that must not be used, or that is none."""


def plain_config(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """Turn a config into plain data, to be saved in a checkpoint.

    Returns:
        Dicts, lists, tuples, texts, numbers, True, False and None; or None for a config that holds
        anything else, such as a function. Classes that are registered become their names.
    """
    data = cfg.to_dict() if isinstance(cfg, Config) else dict(cfg)
    try:
        return {str(key): _plain(value) for key, value in data.items()}
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(map(_plain, value))
    if isinstance(value, type) and value in _registered().get(value.__name__, ()):
        return value.__name__
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{type(value).__name__} is no plain data")


def read_config(path: str | Path) -> Config:
    """Read the config that a checkpoint carries, reduced to what test and prediction read.

    The modules that it names have been imported.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeConfigError: If the file carries no config, or one that would import or call what is
            none of our parts.
        ValueError: If the file cannot be read safely.
    """
    checkpoint = load_state(path)
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    data = meta.get("plain_config") if isinstance(meta, dict) else None
    if not isinstance(data, dict):
        raise UnsafeConfigError(
            f"The checkpoint '{path}' carries no config that can be read as data: give the config "
            "as well, CONFIG CHECKPOINT."
        )
    return Config(checked_config(data, str(path)))


def checked_config(data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Check a config that came as data, and leave out what only a training reads.

    The modules that it names have been imported. Messages say its origin.

    Raises:
        UnsafeConfigError: If it holds more than plain data, or names other modules, scopes or
            types than those of afa and mmsegmentation.
    """
    try:
        kept = {key: _plain(item) for key, item in data.items() if _KEPT.fullmatch(str(key))}
    except TypeError as error:
        raise UnsafeConfigError(
            f"The config in '{origin}' holds an object ({error}): {_WHAT_TO_DO}."
        ) from error
    _import_parts(kept.pop("custom_imports", None), origin)
    names = _registered()
    for path, node in nested_dicts(kept):
        for key, value in node.items():
            if fault := _fault(key, value, names):
                place = f"{path}.{key}" if path else key
                raise UnsafeConfigError(
                    f"The config in '{origin}' has {place}{fault}: {_WHAT_TO_DO}."
                )
        for key in _FOLDERS & set(node):
            del node[key]
    return kept


def _fault(key: str, value: Any, names: Mapping[str, Any]) -> str | None:
    """Say what is wrong with an entry of a config that came as data."""
    if not _KEY.fullmatch(key):
        return ", no name of an entry"
    if key == "type" and not (isinstance(value, str) and value in names):
        return (
            f" = {value!r}, which is no part of afa or mmsegmentation and is not looked for "
            "elsewhere"
        )
    if key == "decode_backend" and value == "pickle":  # of mmseg's biomedical images
        return " = 'pickle', which would run code of the images"
    if key in ("_scope_", "default_scope") and value not in _SCOPES:
        return f" = {value!r}, another package"
    return None


def _import_parts(imports: Any, origin: str) -> None:
    """Import the modules that a config names, if they are ours or mmseg's."""
    names = (imports.get("imports") if isinstance(imports, dict) else imports) or []
    names = [names] if isinstance(names, str) else names
    for name in names:
        if not isinstance(name, str) or name.split(".")[0] not in _PACKAGES:
            raise UnsafeConfigError(
                f"The config in '{origin}' wants to import {name!r}; from a checkpoint's config "
                f"only modules of {' and '.join(_PACKAGES)} are imported: {_WHAT_TO_DO}."
            )
    packages = [f"afa.{name}" for name in ("models", "datasets", "engine", "evaluation")]
    import_modules_from_strings([*packages, *names])


def _registered() -> dict[str, list[Any]]:
    """Collect the registered parts by name, of every scope that is loaded."""
    parts: dict[str, list[Any]] = {}
    for registry in [*vars(root).values(), *vars(mmseg.registry).values()]:
        while isinstance(registry, Registry):
            registry.import_from_location()
            for name, part in registry.module_dict.items():
                parts.setdefault(name, []).append(part)
            registry = registry.parent
    return parts


def find_config(
    config: str,
    checkpoint: str | None,
    work_dir: str | None = None,
    options: dict[str, Any] | None = None,
) -> tuple[Config, str]:
    """Read the config of a test: from its file, or from the checkpoint where that is given alone.

    Args:
        config: The config file; or the checkpoint, if that is all there is.
        checkpoint: The checkpoint, or None.
        work_dir: Folder for results; by default ``work_dir`` of the config file, or else
            ``<name of the checkpoint>_test`` beside it (of one of the hub in work_dirs): two runs
            have iterations of the same names.
        options: Dotted key to value, put over the config's values.

    Returns:
        Config and checkpoint.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is a config without a checkpoint, or a file cannot be used.
    """
    if checkpoint is not None:
        beside = _folder_beside(checkpoint)
        cfg = load_config(config, work_dir=work_dir, options=options, default_work_dir=beside)
        return cfg, checkpoint
    if is_config(config):
        raise ValueError(
            f"'{config}' is a config: give the checkpoint after it, CONFIG CHECKPOINT (or the "
            "checkpoint alone, which carries its config)."
        )
    cfg = read_config(config)
    if options:
        merge_options(cfg, options)
    cfg.work_dir = work_dir or _folder_beside(config)
    return cfg, config


def _folder_beside(checkpoint: str) -> str:
    path = Path(checkpoint)
    folder = Path("work_dirs") if is_hub_address(checkpoint) else path.parent
    return str(folder / f"{path.stem}_test")

"""Read a config file; what fails in it is one sentence with file and line.

A Python config is a program, and its author's slips (a name that is not there, a forgotten comma)
are errors of that program, not of this package.
"""

import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config


def load_config(
    path: str,
    work_dir: str | None = None,
    options: dict[str, Any] | None = None,
    count_classes: bool = True,
) -> Config:
    """Read a Python config file and set its work dir.

    Heads with ``num_classes=None`` get the number of classes of the training set, when its data
    are there.

    Only Python files: YAML and JSON configs are not used here. A Python config runs code by
    design, so use only those you trust.

    Args:
        path: The config file.
        work_dir: Folder for logs and checkpoints; by default `work_dir` of the config, or else
            work_dirs/<name of the config>.
        options: Dotted key to value, put over the file's values.
        count_classes: Whether to fill in ``num_classes=None``; False where the data may be wrong.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file or fails, an option cannot have an effect, or the
            classes cannot be counted because the labels have a fault.
    """
    cfg = read_config_file(path)
    if options:
        merge_options(cfg, options)
    if count_classes:
        from afa.engine.config.classes import fill_num_classes

        fill_num_classes(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = osp.join("work_dirs", osp.splitext(osp.basename(path))[0])
    return cfg


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Put options over the values of a config.

    Raises:
        ValueError: If an option sets a name that only the config file itself uses: setting
            `max_iters=100` would change the variable after its value has gone elsewhere; or if it
            goes below a value that has no entries, such as None.
    """
    from afa.engine.config.check import HELPER_KEYS

    options = dict(options)
    if "data_root" in options:  # the one name worth following to where it went
        _move_data(cfg, options.pop("data_root"))
    for key in options:
        if key in HELPER_KEYS:
            raise ValueError(
                f"--cfg-options cannot change '{key}': it is only a name inside the config file, "
                f"used up when the file was read. Set {HELPER_KEYS[key]}, or write a config that "
                "inherits from this one."
            )
    used = [name for name in cfg if name.endswith("_pipeline") and _is_used(cfg, name)]
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"--cfg-options {key}={value} does not fit the config, which has no such place: "
                "what stands above it is a list (its entries are 0, 1, ...) or has no entries."
            ) from error
    # A name that an option has outdated must not be taken for an override.
    for key, value in options.items():
        if key.endswith(".data_root") and "data_root" in cfg:
            cfg.data_root = value
    for name in used:
        if not _is_used(cfg, name):
            cfg.pop(name)


def _is_used(cfg: Config, name: str) -> bool:
    """Tell whether a loader has the pipeline of this name."""
    from afa.engine.config.check import find_pipelines

    loaders = [cfg[key] for key in cfg if key.endswith("_dataloader")]
    return any(pipeline == cfg[name] for loader in loaders for pipeline in find_pipelines(loader))


def _move_data(cfg: Config, root: Any) -> None:
    """Set `data_root` wherever the config has used its own value of this name.

    Raises:
        ValueError: If that is nowhere: the option would have no effect.
    """
    # The name itself is one of the places.
    if "data_root" not in cfg or _replace_values(cfg, "data_root", cfg.data_root, root) < 2:
        raise ValueError(
            f"--cfg-options data_root={root} has no effect: the config has no name data_root that "
            "its loaders use. Set train_dataloader.dataset.data_root, and so on for val and test."
        )


def _replace_values(node: Any, key: str, old: Any, new: Any) -> int:
    """Replace every value `old` under a key by `new`; give their number."""
    found = 0
    for name, value in node.items() if hasattr(node, "items") else enumerate(node):
        if name == key and value == old:
            node[name] = new
            found += 1
        elif isinstance(value, (dict, list)):
            found += _replace_values(value, key, old, new)
    return found


def read_config_file(path: str | Path) -> Config:
    """Run a Python config file and the files that it inherits from.

    Args:
        path: The config file.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file, or fails; the text says where.
    """
    path = str(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f"There is no config file '{path}'.")
    if not path.endswith(".py"):
        raise ValueError(f"A config must be a Python file (.py), got '{path}'.")
    try:
        return Config.fromfile(path)
    except Exception as error:  # whatever a program may raise
        raise ValueError(f"The config '{path}' cannot be used: {_reason(error, path)}") from error


def _reason(error: Exception, path: str) -> str:
    """Say which line of which file failed, and how."""
    file, line = _place(error)
    where = f"in '{file}'" if file and osp.abspath(file) != osp.abspath(path) else ""
    if isinstance(error, SyntaxError):
        where, line = where or "it is no valid Python", error.lineno
    elif line is None and isinstance(error, (ValueError, OSError)):
        return f"{_first_line(error)}."  # speaks for itself
    place = f"{where}, line {line}" if where and line else where or f"line {line}" * bool(line)
    kind = "" if isinstance(error, SyntaxError) else f"{type(error).__name__}: "
    text = error.msg if isinstance(error, SyntaxError) else _first_line(error)
    return f"{place}: {kind}{text}; mend it." if place else f"{kind}{text}; mend it."


def _first_line(error: Exception) -> str:
    if isinstance(error, ImportError) and isinstance(error.__cause__, ImportError):
        error = error.__cause__  # of custom_imports: mmengine lists the whole path beside it
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")


def _place(error: Exception) -> tuple[str | None, int | None]:
    """Find the config file that was being read, and its line that was running, if any."""
    file, line, trace = None, None, error.__traceback__
    while trace is not None:
        code, local = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if code.co_name == "_file2dict" and isinstance(local.get("filename"), str):
            file, line = local["filename"], None
        elif code.co_filename == file and code.co_name == "<module>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return file, line

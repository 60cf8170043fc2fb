"""Read a config file; what fails in it is one sentence with file and line.

A Python config is a program, and its author's slips (a name that is not there, a forgotten comma)
are errors of that program, not of this package.
"""

import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from afa.engine.checkpoints.read import register_checkpoint_loaders
from afa.engine.config.colours import fill_colours
from afa.engine.config.components import nested_dicts
from afa.engine.config.files import fill_num_classes
from afa.engine.config.iterations import scale_iterations
from afa.utils.home import config_path

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


def load_config(
    path: str,
    work_dir: str | None = None,
    options: dict[str, Any] | None = None,
    count_classes: bool = True,
    iters: int | None = None,
    default_work_dir: str | None = None,
) -> Config:
    """Read a Python config file and set its work dir.

    Heads with ``num_classes=None`` get the number of classes of the training set, when its data
    are there.

    Only Python files: YAML and JSON configs are not used here. A Python config runs code by
    design, so use only those you trust.

    Args:
        path: The config file, or the name of one of afa's configs.
        work_dir: Folder for logs and checkpoints; by default `work_dir` of the config, or else
            work_dirs/<name of the config>.
        options: Dotted key to value, put over the file's values.
        count_classes: Whether to fill in ``num_classes=None``; False where the data may be wrong.
        iters: Number of iterations that the training is scaled to, before ``options``, see
            :func:`scale_iterations`; None to leave it.
        default_work_dir: Stands in the place of work_dirs/<name of the config>.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file or fails, an option cannot have an effect, the
            classes cannot be counted because the labels have a fault, or the iterations cannot be
            scaled.
    """
    cfg = read_config_file(path)
    if iters is not None:
        if "train_cfg.max_iters" in (options or {}):
            raise ValueError("--iters and --cfg-options train_cfg.max_iters: give only one.")
        scale_iterations(cfg, iters)
    if options:
        merge_options(cfg, options)
    if count_classes:
        fill_num_classes(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        name = osp.splitext(osp.basename(path))[0]
        cfg.work_dir = default_work_dir or osp.join("work_dirs", name)
    return cfg


def import_components(cfg: Config) -> None:
    """Register what a config names, whose weights say how images are to be normalised.

    Checkpoints are read by our loaders whatever it imports.
    """
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    register_checkpoint_loaders()
    cfg.default_scope = cfg.get("default_scope") or "mmseg"
    init_default_scope(cfg.default_scope)
    fill_colours(cfg)


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Put options over the values of a config.

    Raises:
        ValueError: If an option sets a name that only the config file itself uses: setting
            `max_iters=100` would change the variable after its value has gone elsewhere; or if it
            goes below a value that has no entries, such as None.
    """
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
    used = _used_pipelines(cfg)
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
    for name in used - _used_pipelines(cfg):
        cfg.pop(name)


def _used_pipelines(cfg: Config) -> set[str]:
    """Give the names of the pipelines that a loader has."""
    found = find_pipelines([cfg[key] for key in cfg if key.endswith("_dataloader")])
    return {name for name in cfg if name.endswith("_pipeline") and cfg[name] in found}


def find_pipelines(node: Any) -> list[Any]:
    """List every pipeline of a loader or a data set, however deep it is."""
    return [inner["pipeline"] for _, inner in nested_dicts(node) if "pipeline" in inner]


def _move_data(cfg: Config, root: Any) -> None:
    """Set `data_root` wherever the config has used its own value of this name.

    Raises:
        ValueError: If that is nowhere: the option would have no effect.
    """
    nodes = [node for _, node in nested_dicts(cfg) if "data_root" in node]
    places = [node for node in nodes if node["data_root"] == cfg.get("data_root")]
    if "data_root" not in cfg or len(places) < 2:  # the name itself is one of them
        raise ValueError(
            f"--cfg-options data_root={root} has no effect: the config has no name data_root that "
            "its loaders use. Set train_dataloader.dataset.data_root, and so on for val and test."
        )
    for node in places:
        node["data_root"] = root


def read_config_file(path: str | Path) -> Config:
    """Run a Python config file and the files that it inherits from.

    Args:
        path: The file, or the name of one of afa's configs, see :func:`config_path`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file, or fails; the text says where.
    """
    path = str(config_path(path))
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

"""Build mmengine's runner, with what our tools need around it."""

import copy
import itertools
import os
import os.path as osp
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner
from mmengine.utils import import_modules_from_strings

from afa.engine.checkpoints.fit import check_checkpoint, check_start
from afa.engine.checkpoints.read import register_checkpoint_loaders
from afa.engine.checkpoints.resume import check_resumable, resume_from_newest
from afa.engine.compile_parts import compile_parts
from afa.engine.config.check import check_config, check_shape
from afa.engine.config.classes import dataset_classes
from afa.engine.config.files import stage_datasets
from afa.engine.dist import init_dist
from afa.engine.evaluation_options import EvaluationOptions
from afa.engine.evaluation_setup import apply_options
from afa.engine.hooks import NonFiniteHook, PendingValidationHook, ReleaseWorkersHook
from afa.utils.environment import check_environment

_STAGES = {"train": ("train", "val"), "val": ("val",), "test": ("test",)}
_count = itertools.count()
_AMP_KEYS = ("loss_scale", "dtype", "use_fsdp")


def _use_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to bfloat16."""
    wrapper = cfg.get("optim_wrapper")
    kind = (wrapper or {}).get("type", "OptimWrapper")
    if wrapper is None or kind not in ("OptimWrapper", "AmpOptimWrapper", "BF16OptimWrapper"):
        raise ValueError(f"--amp replaces an OptimWrapper, but optim_wrapper is a {kind}.")
    for key in _AMP_KEYS:
        wrapper.pop(key, None)
    wrapper["type"] = "BF16OptimWrapper"


def _set_resume(cfg: Config, resume: str | None) -> str | None:
    """Turn `resume` into load_from and resume of mmengine's runner, and return it.

    mmengine would take `load_from` of the config for the checkpoint to resume from.
    """
    if resume is None and cfg.get("resume"):
        resume = cfg.get("load_from") or "auto"
    if resume is None:
        return None
    cfg.resume = resume != "auto"  # the newest good one is chosen when the model is there
    if not cfg.resume:
        return resume
    if not osp.isfile(resume):
        raise FileNotFoundError(f"There is no checkpoint '{resume}' to resume from.")
    cfg.load_from = resume
    return resume


def _replace_sync_bn(node: Any) -> None:
    """Replace norm layers of type SyncBN, which run on GPUs alone, by BN."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            _replace_sync_bn(value)
    if isinstance(node, dict) and node.get("type") == "SyncBN":
        node["type"] = "BN"


def _name_experiment(cfg: Config) -> None:
    """Give each run of a process a name of its own.

    mmengine keeps logger, losses and visualizer under name and second of the start, so that two
    runs in one second would share them.
    """
    number = next(_count)
    stem = osp.splitext(osp.basename(cfg.filename))[0] if cfg.filename else "run"
    name = cfg.get("experiment_name") or stem
    cfg.experiment_name = f"{name}-{number}" if number else name


def _prepare_processes(cfg: Config) -> None:
    """Start the process group and set what several processes need."""
    launcher = cfg.get("launcher") or "none"
    cfg.launcher = launcher
    dist_cfg = cfg.get("env_cfg", {}).get("dist_cfg") or {}
    init_dist(launcher, timeout=dist_cfg.get("timeout", 1800))
    if not torch.cuda.is_available():
        cfg.pop("sync_bn", None)
        _replace_sync_bn(cfg.model)
    if launcher == "none":
        return
    if cfg.get("model_wrapper_cfg") is None:
        cfg.model_wrapper_cfg = {}
    wrapper = cfg.model_wrapper_cfg
    if wrapper.get("type", "MMDistributedDataParallel") == "MMDistributedDataParallel":
        wrapper["type"] = "AFADistributedDataParallel"
    # mmengine ignores the top-level key as soon as there is a model_wrapper_cfg.
    if "find_unused_parameters" in cfg:
        wrapper.setdefault("find_unused_parameters", cfg.find_unused_parameters)


def _use_own_hooks(cfg: Config) -> None:
    """Put our checkpoint hook in the place of mmengine's, and take it where none is named."""
    hooks = dict(cfg.get("default_hooks") or {})
    own = hooks.get("checkpoint", {})
    if own is not None and own.get("type", "CheckpointHook") == "CheckpointHook":
        hooks["checkpoint"] = {**own, "type": "AFACheckpointHook"}
    cfg.default_hooks = hooks


def _count_once(cfg: Config) -> None:
    """Let no process evaluate an image that another one evaluates too.

    mmengine's sampler repeats images until every process has as many; its metrics cut the list of
    results, ours have none.
    """
    for key in ("val_dataloader", "test_dataloader"):
        sampler = (cfg.get(key) or {}).get("sampler")
        if sampler and sampler.get("type") in ("DefaultSampler", DefaultSampler):
            sampler["round_up"] = False


def _set_precision(cfg: Config) -> None:
    """Let GPUs multiply in TF32 unless env_cfg.tf32 says no, and repeat a run where that is asked.

    cuBLAS is deterministic only with a workspace of fixed size, which it reads at its start.
    """
    if (cfg.get("randomness") or {}).get("deterministic"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    tf32 = (cfg.get("env_cfg") or {}).get("tf32", True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(tf32)


def _pin_memory(cfg: Config) -> None:
    """Let batches be copied to a GPU while it computes, where the config says nothing else."""
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if torch.cuda.is_available() and cfg.get(key):
            cfg[key].setdefault("pin_memory", True)


def build_runner(
    cfg: Config,
    stage: str = "train",
    amp: bool = False,
    resume: str | None = None,
    options: EvaluationOptions | None = None,
) -> Runner:
    """Check a config and build its runner.

    Args:
        cfg: The config; it is not changed. `launcher` in it says how processes are started.
        stage: 'train', 'val' or 'test'.
        amp: Whether to train in bfloat16.
        resume: Checkpoint to go on from, or 'auto' for the newest good one in the work dir, or
            None to do as the config says.
        options: What a test does beside running the network once.

    Returns:
        mmengine's runner, with the checkpoint (if any) found to fit.

    Raises:
        ConfigError: If the config cannot run.
        CheckpointError: If the checkpoint does not fit.
        ValueError: If an argument is wrong.
    """
    if stage not in _STAGES:
        raise ValueError(f"stage must be one of {', '.join(_STAGES)}, got '{stage}'.")
    check_environment()
    cfg = copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(cfg)
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    register_checkpoint_loaders()
    init_default_scope(cfg.get("default_scope") or "mmseg")
    cfg.setdefault("default_scope", "mmseg")
    check_shape(cfg, _STAGES[stage])
    cfg.setdefault("work_dir", "work_dirs/run")
    cfg.setdefault("log_processor", {"type": "AFALogProcessor", "by_epoch": False})
    if amp:
        _use_amp(cfg)
    if options is not None:
        apply_options(cfg, options)
    _count_once(cfg)
    _use_own_hooks(cfg)
    if stage == "train":
        resume = _set_resume(cfg, resume)
    check_config(cfg, _STAGES[stage])
    os.environ.setdefault("LOCAL_RANK", "0")
    _set_precision(cfg)
    _prepare_processes(cfg)
    _name_experiment(cfg)
    compile_options = cfg.pop("compile", None)  # mmengine would compile all of train_step
    _pin_memory(cfg)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(ReleaseWorkersHook())
    model = getattr(runner.model, "module", runner.model)
    if torch.cuda.is_available():  # mmseg's preprocessors do not hand this option on
        model.data_preprocessor._non_blocking = True
    if stage != "train":
        if cfg.get("load_from"):
            _check_fit(runner, cfg, stage)
        return runner
    if names := compile_parts(model, compile_options):
        runner.logger.info(f"torch.compile: {', '.join(names)}; the first iterations take minutes.")
    for hook in (PendingValidationHook, NonFiniteHook):
        if not any(isinstance(own, hook) for own in runner.hooks):
            runner.register_hook(hook())
    if cfg.get("load_from") and resume in (None, "auto"):
        _check_start(runner, cfg)
    if resume == "auto":
        resume_from_newest(runner, _classes(cfg, stage))
    elif resume is not None:
        check_resumable(runner, resume, _classes(cfg, stage))
    return runner


def _classes(cfg: Config, stage: str) -> list[str] | None:
    found = (dataset_classes(dataset) for _, dataset in stage_datasets(cfg, (stage,)))
    return next((classes for classes in found if classes), None)


def _check_start(runner: Runner, cfg: Config) -> None:
    """Check that a training can begin with the weights of its load_from."""
    checkpoint = CheckpointLoader.load_checkpoint(cfg.load_from, "cpu", logger="silent")
    check_start(getattr(runner.model, "module", runner.model), checkpoint, cfg.load_from)


def _check_fit(runner: Runner, cfg: Config, stage: str) -> None:
    """Check the checkpoint of a runner against its model and its data set."""
    checkpoint = CheckpointLoader.load_checkpoint(cfg.load_from, "cpu", logger="silent")
    model = runner.model
    while hasattr(model, "module"):  # DDP and TTA wrappers
        model = model.module
    check_checkpoint(model, checkpoint, cfg.load_from, _classes(cfg, stage))

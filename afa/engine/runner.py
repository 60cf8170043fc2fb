"""Build the runner of a training, a validation or a test; the file reads downwards."""

import copy
import itertools
import os
import os.path as osp
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader, Runner

from afa.engine.checkpoints.fit import check_checkpoint, check_start
from afa.engine.checkpoints.resume import check_resumable, resume_from_newest
from afa.engine.compile_parts import compile_parts
from afa.engine.config.check import check_config, check_shape
from afa.engine.config.components import nested_dicts
from afa.engine.config.files import classes_of_stage, pin_weights
from afa.engine.config.load import import_components
from afa.engine.console import ConsoleFilter, filter_console, warnings_in_log
from afa.engine.dist import init_dist, unwrapped
from afa.engine.hooks import (
    NonFiniteHook,
    OutcomeHook,
    PendingValidationHook,
    RehearsalHook,
    ReleaseWorkersHook,
    ReportHook,
    ZeroRateHook,
)
from afa.engine.schedules import follow_config
from afa.engine.test_options import EvaluationOptions, apply_options
from afa.engine.trackers import prepare_trackers, telling_trackers
from afa.utils.environment import check_environment, device_name

_STAGES = {"train": ("train", "val"), "val": ("val",), "test": ("test",)}
# Default hooks of mmengine, and ours that stand in their place.
_OWN_HOOKS = (
    ("checkpoint", "CheckpointHook", "AFACheckpointHook"),
    ("timer", "IterTimerHook", "AFATimerHook"),
)
_count = itertools.count()


def build_runner(
    cfg: Config,
    stage: str = "train",
    amp: bool = False,
    resume: str | None = None,
    options: EvaluationOptions | None = None,
) -> "AFARunner":
    """Check a config and build its runner.

    Args:
        cfg: The config; it is not changed. `launcher` in it says how processes are started.
        stage: 'train', 'val' or 'test'.
        amp: Whether to train in bfloat16.
        resume: Checkpoint to go on from, or 'auto' for the newest good one in the work dir, or
            None to do as the config says.
        options: What a test does beside running the network once.

    Returns:
        The runner, with the checkpoint (if any) found to fit.

    Raises:
        ConfigError: If the config cannot run.
        CheckpointError: If the checkpoint does not fit.
        ValueError: If an argument is wrong.
    """
    if stage not in _STAGES:
        raise ValueError(f"stage must be one of {', '.join(_STAGES)}, got '{stage}'.")
    check_environment()
    cfg = copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(cfg)
    import_components(cfg)
    check_shape(cfg, _STAGES[stage])
    _use_own_parts(cfg)
    if amp:
        _use_amp(cfg)
    if options is not None:
        apply_options(cfg, options)
    resume = _set_resume(cfg, resume) if stage == "train" else None
    prepare_trackers(cfg, stage, resume)
    check_config(cfg, _STAGES[stage])
    _prepare_machine(cfg)
    _prepare_processes(cfg)
    pin_weights(cfg, _STAGES[stage])
    _name_experiment(cfg)
    compile_options = cfg.pop("compile", None)  # mmengine would compile all of train_step
    runner = AFARunner.from_cfg(cfg)
    with telling_trackers(runner.visualizer):
        if stage == "train":
            _check_crop(unwrapped(runner.model))
        if stage == "train" and (names := compile_parts(unwrapped(runner.model), compile_options)):
            text = f"torch.compile: {', '.join(names)}; the first iterations take minutes."
            runner.logger.info(text)
        runner.check_checkpoint(stage, resume)
    return runner


def _use_own_parts(cfg: Config) -> None:
    """Put our log lines, timer and checkpoints in mmengine's place, and evaluate no image twice.

    mmengine's sampler repeats images until every process has as many; its metrics cut the list of
    results, ours have none.
    """
    cfg.setdefault("work_dir", "work_dirs/run")
    cfg.setdefault("log_processor", {"type": "AFALogProcessor", "by_epoch": False})
    hooks = dict(cfg.get("default_hooks") or {})
    for name, plain, own in _OWN_HOOKS:
        given = hooks.get(name, {})
        if given is not None and given.get("type", plain) == plain:
            hooks[name] = {**given, "type": own}
    cfg.default_hooks = hooks
    for key in ("val_dataloader", "test_dataloader"):
        sampler = (cfg.get(key) or {}).get("sampler")
        if sampler and sampler.get("type") in ("DefaultSampler", DefaultSampler):
            sampler["round_up"] = False


def _use_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to bfloat16."""
    wrapper = cfg.get("optim_wrapper")
    kind = (wrapper or {}).get("type", "OptimWrapper")
    if wrapper is None or kind not in ("OptimWrapper", "AmpOptimWrapper", "BF16OptimWrapper"):
        raise ValueError(f"--amp replaces an OptimWrapper, but optim_wrapper is a {kind}.")
    for key in ("loss_scale", "dtype", "use_fsdp"):
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
    if cfg.resume:
        if not osp.isfile(resume):
            raise FileNotFoundError(
                f"There is no checkpoint '{resume}' to resume from: give the path of one that a "
                "training has left."
            )
        cfg.load_from = resume
    return resume


def _prepare_machine(cfg: Config) -> None:
    """Choose the precision of GPUs (TF32 unless told, repeatable where asked), and pin batches.

    cuBLAS is deterministic only with a workspace of fixed size, which it reads at its start.
    """
    if (cfg.get("randomness") or {}).get("deterministic"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    tf32 = (cfg.get("env_cfg") or {}).get("tf32", True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(tf32)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if torch.cuda.is_available() and cfg.get(key):  # they are copied while the GPU computes
            cfg[key].setdefault("pin_memory", True)


def _prepare_processes(cfg: Config) -> None:
    """Start the process group and set what several processes need."""
    os.environ.setdefault("LOCAL_RANK", "0")
    cfg.launcher = cfg.get("launcher") or "none"
    dist_cfg = cfg.get("env_cfg", {}).get("dist_cfg") or {}
    init_dist(cfg.launcher, timeout=dist_cfg.get("timeout", 1800))
    if not torch.cuda.is_available():  # SyncBN runs on GPUs alone
        cfg.pop("sync_bn", None)
        for _, node in nested_dicts(cfg.model):
            if node.get("type") == "SyncBN":
                node["type"] = "BN"
    if cfg.launcher == "none":
        return
    if cfg.get("model_wrapper_cfg") is None:
        cfg.model_wrapper_cfg = {}
    wrapper = cfg.model_wrapper_cfg
    if wrapper.get("type", "MMDistributedDataParallel") == "MMDistributedDataParallel":
        wrapper["type"] = "AFADistributedDataParallel"
    # mmengine ignores the top-level key as soon as there is a model_wrapper_cfg.
    if "find_unused_parameters" in cfg:
        wrapper.setdefault("find_unused_parameters", cfg.find_unused_parameters)


def _check_crop(model: Any) -> None:
    """Ask a backbone that takes certain sizes only whether training images have one of them."""
    check = getattr(getattr(model, "backbone", None), "check_crop", None)
    size = getattr(model.data_preprocessor, "size", None)
    if check is not None and size is not None:
        check(size)


def _name_experiment(cfg: Config) -> None:
    """Give each run of a process a name of its own.

    mmengine keeps logger, losses and visualizer under name and second of the start, so that two
    runs in one second would share them.
    """
    number = next(_count)
    stem = osp.splitext(osp.basename(cfg.filename))[0] if cfg.filename else "run"
    name = cfg.get("experiment_name") or stem
    cfg.experiment_name = f"{name}-{number}" if number else name


class AFARunner(Runner):
    """mmengine's runner, with the hooks that every run needs and a check of its checkpoint."""

    _console: ConsoleFilter
    _benchmark = False

    def build_model(self, model: Any) -> Any:
        """Build the model; its batches go to a GPU while that computes."""
        built = super().build_model(model)
        if torch.cuda.is_available():  # mmseg's preprocessors do not hand this option on
            unwrapped(built).data_preprocessor._non_blocking = True
        return built

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger; the screen begins with what the user asked for."""
        logger = super().build_logger(*args, **kwargs)
        self._console = filter_console(logger)
        logger.info(
            f"{self.cfg.filename or 'A config'} on {device_name()}; results go to {self.work_dir}, "
            f"all settings and what libraries say to {logger.log_file}"
        )
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks of a moment; before a training also say what it is made of.

        cuDNN tries what is fastest for a size (``env_cfg.cudnn_benchmark``) in training alone: test
        photos have a new size each time.
        """
        if fn_name in ("before_val", "before_test"):
            self._benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
        if fn_name == "before_train":
            loader, classes = self.train_dataloader, None
            if isinstance(meta := getattr(loader.dataset, "metainfo", None), dict):
                classes = meta.get("classes")
            self.logger.info(
                f"Training on {len(loader.dataset)} images"
                f"{f' of {len(classes)} classes' if classes else ''}, {self.max_iters} iterations "
                f"of {(loader.batch_size or 1) * get_world_size()} images"
            )
        super().call_hook(fn_name, **kwargs)
        if fn_name in ("before_train", "before_val", "before_test"):
            self._console.started = True
        if fn_name in ("after_val", "after_test"):
            torch.backends.cudnn.benchmark = self._benchmark

    def train(self) -> Any:
        """Train; what libraries warn of goes to the log file."""
        with warnings_in_log(self.logger), telling_trackers(self.visualizer):
            return super().train()

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """Register the hooks of the config, and ours where it does not name them."""
        super().register_hooks(default_hooks, custom_hooks)
        own = [ReleaseWorkersHook, PendingValidationHook, NonFiniteHook, ZeroRateHook, OutcomeHook]
        own += [ReportHook]
        own += [RehearsalHook] if self.cfg.get("rehearse", True) else []
        for hook in own:
            if not any(isinstance(given, hook) for given in self.hooks):
                self.register_hook(hook())

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint; on resume, rate and schedules become those of the config."""
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if self._resume and (differences := follow_config(self, checkpoint, filename)):
            self.logger.warning(
                f"'{filename}' was trained with {', '.join(differences)}: the run goes on with the "
                "rates that a run with its own config would have now."
            )
        return checkpoint

    def check_checkpoint(self, stage: str, resume: str | None) -> None:
        """Check the weights that a run begins with, and choose those that it goes on from.

        Args:
            stage: 'train', 'val' or 'test'.
            resume: Checkpoint that a training goes on from, 'auto' for the newest good one, or
                None.

        Raises:
            CheckpointError: If they do not fit.
        """
        path, model = self.cfg.get("load_from"), unwrapped(self.model)
        if not path and resume is None:
            return
        classes = classes_of_stage(self.cfg, stage)
        if path and resume in (None, "auto"):
            checkpoint = CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
            if stage == "train":
                check_start(model, checkpoint, path)
            else:
                check_checkpoint(model, checkpoint, path, classes)
        if resume == "auto":
            resume_from_newest(self, classes)
        elif resume is not None:
            check_resumable(self, resume, classes)

"""Trackers of experiments (`--tracker`): the backends of TensorBoard, wandb, MLflow and ClearML.

Three of them are mended here, because with mmengine's own

- a resumed training became a second run of the tracker: the run is noted in ``trackers.json`` of
  the work dir, and gone on with;
- wandb got no iterations, all Python files below the current folder, and at the end an error;
- MLflow got no pictures (their names have no suffix), and stopped at a config that has changed;
- ClearML got every scalar twice, by way of TensorBoard, and every checkpoint.

mmengine calls backends in the first process alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization import ClearMLVisBackend, MLflowVisBackend, Visualizer, WandbVisBackend
from mmengine.visualization.vis_backend import force_init_env
from mmseg.registry import VISBACKENDS

from afa.engine.checkpoints.carried_config import plain_config
from afa.engine.checkpoints.resume import checkpoints
from afa.engine.config.components import nested_dicts
from afa.files.whole_file import read_json_object, write_json

# What `--tracker` calls them, and the name in a config.
BACKENDS = {
    "tensorboard": "TensorboardVisBackend",
    "wandb": "WandbVisBackend",
    "mlflow": "MLflowVisBackend",
    "clearml": "ClearMLVisBackend",
}
RECORD = "trackers.json"
PROJECT = "afa"  # also the name of MLflow's experiment
_OWN = ("wandb", "mlflow", "clearml")
_STEP = "iteration"
_NO_NAME = re.compile(r"[^\w.\- :/]")  # what a name of MLflow must not have
_MAX_NAME, _MAX_PARAM = 250, 500  # letters, of MLflow's names and values


def use_trackers(cfg: Config, names: Sequence[str]) -> None:
    """Replace the trackers of a config; settings of one that it has already are kept.

    Args:
        cfg: The config, changed in place.
        names: Some of :data:`BACKENDS`, or ``"none"`` alone.

    Raises:
        ValueError: If ``"none"`` stands beside others.
    """
    if "none" in names and len(set(names)) > 1:
        raise ValueError("--tracker none stands alone: leave it out, or the others.")
    visualizer = cfg.get("visualizer") or dict(type="SegLocalVisualizer")
    if not isinstance(visualizer, Mapping):
        return  # the check of the config says so
    given = list(visualizer.get("vis_backends") or [dict(type="LocalVisBackend")])
    kinds = {_kind(backend): backend for backend in given}
    wanted = [BACKENDS[name] for name in dict.fromkeys(names) if name != "none"]
    kept = [backend for backend in given if _kind(backend) not in BACKENDS.values()]
    backends = [*kept, *(kinds.get(kind, dict(type=kind)) for kind in wanted)]
    cfg.visualizer = {**visualizer, "vis_backends": backends}


def _kind(backend: Any) -> str:
    """Give mmengine's name of a backend, also of one that stands in its place."""
    kind = backend.get("type") if isinstance(backend, Mapping) else type(backend)
    return str(getattr(kind, "__name__", kind)).removeprefix("AFA")


def prepare_trackers(cfg: Config, stage: str, resume: str | None) -> None:
    """Put our backends in the place of mmengine's, and tell them which run is theirs.

    A test has no scalars: it would only begin an empty run.

    Args:
        cfg: The config, changed in place.
        stage: ``"train"``, ``"val"`` or ``"test"``.
        resume: The checkpoint that a training goes on from, ``"auto"`` or None.
    """
    visualizer = cfg.get("visualizer") or {}
    if not isinstance(visualizer.get("vis_backends"), (list, tuple)):
        return
    own = {BACKENDS[name] for name in _OWN}
    work = Path(cfg.work_dir)
    goes_on = resume is not None and (resume != "auto" or bool(checkpoints(work)))
    name = "/".join(part for part in work.parts[-2:] if part not in ("work_dirs", "/"))
    run = dict(name=name, record=str(work / RECORD), goes_on=goes_on)
    backends = []
    for backend in visualizer["vis_backends"]:
        if not isinstance(backend, Mapping) or _kind(backend) not in own:
            backends.append(backend)
        elif stage == "train":
            backends.append({**backend, "type": f"AFA{_kind(backend)}", "run": run})
    visualizer["vis_backends"] = backends


@contextmanager
def telling_trackers(visualizer: Visualizer) -> Iterator[None]:
    """Tell the trackers of a training that it has failed, if it does."""
    try:
        yield
    except BaseException:
        for backend in visualizer._vis_backends.values():
            if isinstance(backend, _Run) and getattr(backend, "_env_initialized", False):
                with suppress(Exception):  # what has failed is said already
                    backend.fail()
        raise


class _Run:
    """The run of a tracker that belongs to a work dir.

    Args:
        *args: Of mmengine's backend, and so are the others.
        run: ``name``, ``record`` (file that keeps its id), and whether this one ``goes_on`` with
            it; None for a run of its own.
    """

    def __init__(self, *args: Any, run: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run = dict(run or {})

    def fail(self) -> None:
        """End the run as one that has failed."""
        raise NotImplementedError

    def _earlier(self) -> str | None:
        record, key = self._run.get("record"), type(self).__name__
        found = read_json_object(record).get(key) if record and self._run.get("goes_on") else None
        return found if isinstance(found, str) else None

    def _note(self, run_id: str) -> None:
        if record := self._run.get("record"):
            Path(record).parent.mkdir(parents=True, exist_ok=True)
            noted = read_json_object(record) if Path(record).exists() else {}
            write_json(record, {**noted, type(self).__name__: run_id})


@VISBACKENDS.register_module()
class AFAWandbVisBackend(_Run, WandbVisBackend):
    """mmengine's backend of wandb, with iterations, and without the code of the current folder.

    Scalars are drawn over the iteration. (wandb's own count goes up with every call; it cannot go
    back to where a resumed training begins.)
    """

    def _init_env(self) -> None:
        """Begin the run, or go on with it.

        Raises:
            ValueError: If wandb cannot.
        """
        import wandb

        os.makedirs(self._save_dir, exist_ok=True)
        own: dict[str, Any] = dict(dir=self._save_dir, name=self._run.get("name"))
        own.update({} if os.environ.get("WANDB_PROJECT") else dict(project=PROJECT))
        if earlier := self._earlier():
            own.update(id=earlier, resume="allow")
        try:
            run = wandb.init(**{**own, **(self._init_kwargs or {})})
        except wandb.errors.Error as error:
            raise _refusal(
                "wandb", error, "log in (`wandb login`), or set WANDB_MODE=offline"
            ) from error
        run.define_metric(_STEP)
        run.define_metric("*", step_metric=_STEP)
        metrics = self._define_metric_cfg or []
        if isinstance(metrics, Mapping):
            metrics = [dict(name=name, summary=how) for name, how in metrics.items()]
        for metric in metrics:
            run.define_metric(**{"step_metric": _STEP, **metric})
        self._wandb = wandb
        self._note(run.id)

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as plain data; a resumed run may have another one."""
        self._wandb.config.update(plain_config(config) or {}, allow_val_change=True)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record a picture (H, W, 3) RGB."""
        self._wandb.log({name: self._wandb.Image(image), _STEP: step})

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self._wandb.log({name: value, _STEP: step})

    @force_init_env
    def add_scalars(self, scalar_dict: dict, step: int = 0, *args: Any, **kwargs: Any) -> None:
        """Record numbers by their names."""
        self._wandb.log({**scalar_dict, _STEP: step})

    def close(self) -> None:
        """End the run."""
        if hasattr(self, "_wandb"):
            self._wandb.finish()

    def fail(self) -> None:
        """End the run as one that has failed."""
        self._wandb.finish(exit_code=1)


@VISBACKENDS.register_module()
class AFAMLflowVisBackend(_Run, MLflowVisBackend):
    """mmengine's backend of MLflow, with pictures, into one store for all runs.

    The store is ``tracking_uri``, or MLFLOW_TRACKING_URI, or else the folder ``mlruns`` beside the
    work dir.
    """

    def _init_env(self) -> None:
        """Begin the run, or go on with it.

        Raises:
            ValueError: If MLflow cannot.
        """
        import mlflow

        self._mlflow = mlflow
        place = self._tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not place:
            # A folder needs no server and no database, but newer versions want to be asked twice.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            folder = Path(self._run.get("record") or self._save_dir).parent.parent / "mlruns"
            place = folder.resolve().as_uri()
        known = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(place)
        if known is None:  # it sets this, and the next run of the process would take it for ours
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        name = self._exp_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        try:
            if self._artifact_location and mlflow.get_experiment_by_name(name) is None:
                mlflow.create_experiment(name, artifact_location=self._artifact_location)
            mlflow.set_experiment(name)
            run = self._begin()
            mlflow.set_tags(self._tags or {})
            self._add_params(self._params or {})
        except mlflow.MlflowException as error:
            raise _refusal(
                "MLflow", error, f"its store is {place}: set MLFLOW_TRACKING_URI"
            ) from error
        self._note(run.info.run_id)

    def _begin(self) -> Any:
        if earlier := self._earlier():
            with suppress(self._mlflow.MlflowException):  # it has been removed: begin a new one
                return self._mlflow.start_run(run_id=earlier)
        return self._mlflow.start_run(run_name=self._run_name or self._run.get("name"))

    def _add_params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; MLflow keeps the first value of each for ever."""
        known = self._mlflow.get_run(self._mlflow.active_run().info.run_id).data.params
        named = {_mlflow_name(key): str(value)[:_MAX_PARAM] for key, value in values.items()}
        new = [(key, value) for key, value in named.items() if key not in known]
        for start in range(0, len(new), 100):  # more at once are refused
            self._mlflow.log_params(dict(new[start : start + 100]))

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config, as parameters (those that the run has not yet) and whole."""
        self.cfg = config
        keys = self._tracked_config_keys
        kept = {key: value for key, value in config.items() if keys is None or key in keys}
        self._add_params(
            {
                f"{path}.{key}".lstrip("."): value
                for path, node in nested_dicts(plain_config(kept) or {})
                for key, value in node.items()
                if not any(nested_dicts(value))
            }
        )
        self._mlflow.log_text(config.pretty_text, "config.py")

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record a picture (H, W, 3) RGB, as ``NAME/STEP.png`` among the artifacts."""
        self._mlflow.log_image(image, f"{_mlflow_name(name)}/{step:06d}.png")

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self.add_scalars({name: value}, step)

    @force_init_env
    def add_scalars(self, scalar_dict: dict, step: int = 0, *args: Any, **kwargs: Any) -> None:
        """Record numbers by their names."""
        named = {_mlflow_name(key): float(value) for key, value in scalar_dict.items()}
        super().add_scalars(named, step)

    def close(self) -> None:
        """Record the log file, and end the run."""
        self._end("FINISHED")

    def fail(self) -> None:
        """Record the log file, and end the run as one that has failed."""
        self._end("FAILED")

    def _end(self, status: str) -> None:
        if not hasattr(self, "_mlflow") or self._mlflow.active_run() is None:
            return
        for path in Path(self._save_dir).parent.glob("*.log"):
            self._mlflow.log_artifact(str(path))
        self._mlflow.end_run(status)


def _mlflow_name(name: str) -> str:
    name = re.sub(r"\[(\d+)\]", r".\1", name)  # an entry of a list, as `--cfg-options` names it
    return _NO_NAME.sub("_", name)[:_MAX_NAME]


@VISBACKENDS.register_module()
class AFAClearMLVisBackend(_Run, ClearMLVisBackend):
    """mmengine's backend of ClearML, without what ClearML takes by itself of other libraries."""

    def __init__(self, *args: Any, artifact_suffix: Any = (".py",), **kwargs: Any) -> None:
        super().__init__(*args, artifact_suffix=artifact_suffix, **kwargs)

    def _init_env(self) -> None:
        """Begin the task, or go on with it.

        Raises:
            ValueError: If ClearML cannot.
        """
        import clearml

        earlier = self._earlier()
        own = dict(
            project_name=PROJECT,
            task_name=self._run.get("name"),
            reuse_last_task_id=earlier or False,
            continue_last_task=0 if earlier else False,  # 0: iterations are not counted on
            auto_connect_frameworks=False,  # TensorBoard's scalars, torch's files, plots
            auto_connect_arg_parser=False,
        )
        try:
            self._task = clearml.Task.init(**{**own, **(self._init_kwargs or {})})
        except Exception as error:  # of its settings, of its server, or of the network
            raise _refusal(
                "ClearML", error, "run `clearml-init`, or set CLEARML_OFFLINE_MODE=1"
            ) from error
        self._clearml = clearml
        self._logger = self._task.get_logger()
        self._note(self._task.id)

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as plain data."""
        self.cfg = config
        self._task.connect_configuration(plain_config(config) or {})

    def fail(self) -> None:
        """End the task as one that has failed."""
        self._task.mark_failed()
        self._task.close()


def _refusal(tracker: str, error: Exception, advice: str) -> ValueError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rstrip(".") if lines else type(error).__name__
    return ValueError(
        f"{tracker} cannot begin a run ({reason}): {advice}, or take another tracker."
    )

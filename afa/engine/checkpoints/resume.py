"""Choose the checkpoint that a run goes on from, and compare how both were trained."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mmseg.registry as reg
from mmengine.runner import CheckpointLoader, Runner

from afa.engine.checkpoints.fit import CheckpointError, check_checkpoint
from afa.engine.config.components import find_component
from afa.engine.dist import unwrapped
from afa.engine.hooks.checkpoint_hook import batch_of
from afa.utils.first_process import first_process
from afa.utils.settings import parameters_of


class OtherTrainingError(CheckpointError):
    """A good checkpoint, of a training that this one cannot go on with."""


def checkpoints(work_dir: str | os.PathLike) -> list[Path]:
    """List the checkpoints that a training has left in its folder to go on from, newest first.

    They are ``iter_*.pth`` and ``epoch_*.pth`` by time of change, and what ``last_checkpoint``
    names where that is in another folder. Best ones are not among them: they hold weights alone.
    """
    work = Path(work_dir)
    found = [path for kind in ("iter", "epoch") for path in work.glob(f"{kind}_*.pth")]
    pointer = work / "last_checkpoint"
    if pointer.is_file():
        named = Path(pointer.read_text(errors="replace").strip() or work)
        if named.is_file() and named.resolve() not in [path.resolve() for path in found]:
            found.append(named)
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def check_resumable(runner: Runner, path: str, classes: list[str] | None) -> None:
    """Check that a training can go on from a checkpoint.

    Args:
        runner: The runner of the training.
        path: The checkpoint.
        classes: The classes of its data set, if they are known.

    Raises:
        CheckpointError: If it is another model's, holds too little, or was trained in a way that
            the config cannot go on with.
        ValueError: If it cannot be read.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
    check_checkpoint(unwrapped(runner.model), checkpoint, path, classes)
    meta = checkpoint.get("meta")
    missing = [key for key in ("optimizer", "message_hub") if key not in checkpoint]
    if not isinstance(meta, dict) or not {"iter", "epoch"} <= set(meta) or missing:
        raise CheckpointError(
            f"Checkpoint '{path}' holds weights, but not the state of a training "
            f"({', '.join(missing or ['iteration'])}): a run cannot go on from it; to start a new "
            "one with its weights, give --cfg-options load_from=CHECKPOINT."
        )
    if differences := list(_differences(runner.cfg, meta)):
        raise OtherTrainingError(
            f"'{path}' was trained with {'; '.join(differences)}: that cannot change in the middle "
            "of a run. Give the old values, or begin anew with its weights (--cfg-options "
            "load_from=CHECKPOINT, without --resume)."
        )
    _compare_batch(runner, meta, path)


def _differences(cfg: Mapping[str, Any], meta: dict[str, Any]) -> Iterator[str]:
    """Name what a run cannot take over from the config of now, with both values."""
    seed, drawn = (cfg.get("randomness") or {}).get("seed"), meta.get("seed")
    if None not in (seed, drawn) and seed != drawn:
        yield f"randomness.seed {drawn}, this run has {seed}"
    trained = meta.get("plain_config")
    if not isinstance(trained, dict):
        return
    for place, read in (
        ("optim_wrapper.optimizer.type", lambda c: _name(_find(c, "optim_wrapper", "optimizer"))),
        ("train_cfg.type", lambda c: _name(_find(c, "train_cfg"))),
        ("train_dataloader.sampler", lambda c: _arguments(_find(c, "train_dataloader", "sampler"))),
        ("phases", lambda c: _past_phases(c, meta["iter"])),
    ):
        was, now = read(trained), read(cfg)
        if was != now:
            yield f"{place} {was} before iteration {meta['iter']}, this run has {now}"


def _find(cfg: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        cfg = cfg.get(key) if hasattr(cfg, "get") else None  # a Config is no Mapping
    return cfg if isinstance(cfg, Mapping) else {}


def _name(node: Mapping[str, Any]) -> str | None:
    """Return the type of a component as text."""
    kind = node.get("type")
    return getattr(kind, "__name__", kind)


def _arguments(sampler: Mapping[str, Any]) -> dict[str, Any]:
    """Return type and arguments of a sampler, those that are left out too."""
    component = find_component(sampler.get("type"), reg.DATA_SAMPLERS)
    known = parameters_of(component) if component is not None else {}
    own = {name: one.default for name, one in known.items() if one.default is not one.empty}
    return {**own, **sampler, "type": _name(sampler)}


def _past_phases(cfg: Mapping[str, Any], iteration: int) -> dict[str, int]:
    """Return the phases of PhaseHook that have begun before an iteration."""
    hooks = [hook for hook in cfg.get("custom_hooks") or [] if _name(hook) == "PhaseHook"]
    begins = dict(hooks[0].get("phases") or {}) if hooks else {}
    return {name: begin for name, begin in sorted(begins.items()) if begin < iteration}


def _compare_batch(runner: Runner, meta: dict[str, Any], path: str) -> None:
    """Warn if a step takes another number of images than it did."""
    was, now = meta.get("batch"), batch_of(runner)
    if not isinstance(was, dict) or not all(isinstance(was.get(key), int) for key in now):
        return
    totals = [one["per_process"] * one["processes"] for one in (was, now)]
    if totals[0] != totals[1]:
        runner.logger.warning(
            f"'{path}' was trained with {totals[0]} images a step ({was['processes']} processes of "
            f"{was['per_process']}), this run takes {totals[1]} ({now['processes']} of "
            f"{now['per_process']}): it goes on elsewhere in the order of the images."
        )


def resume_from_newest(runner: Runner, classes: list[str] | None = None) -> None:
    """Tell a runner to go on from the newest good checkpoint of its work dir, if there is any.

    The first process chooses for all.

    Raises:
        CheckpointError: If there are checkpoints, but none is good: what was trained must not be
            overwritten by a run from the start.
    """
    path = first_process(lambda: _newest_good(runner, classes))
    if path is None:
        runner.logger.warning(
            f"There is no checkpoint in {runner.work_dir}: training starts from the beginning."
        )
        return
    runner._resume, runner._load_from = True, path
    runner.cfg.resume, runner.cfg.load_from = True, path
    runner.logger.info(f"The run goes on from '{path}'.")


def _newest_good(runner: Runner, classes: list[str] | None) -> str | None:
    """Return the newest checkpoint that is good, and name those that are not."""
    found, faults = checkpoints(runner.work_dir), []
    for path in found:
        try:
            check_resumable(runner, str(path), classes)
            return str(path)
        except OtherTrainingError:
            raise  # an older one would leave out what has been trained
        except (ValueError, OSError) as error:
            faults.append(str(error))
            runner.logger.warning(f"'{path}' is passed over: {error}")
    if not faults:
        return None
    raise CheckpointError(
        f"None of the {len(found)} checkpoints in '{runner.work_dir}' can be gone on from; the "
        f"newest: {faults[0]} To start from the beginning, give another --work-dir."
    )

"""Learning rates ahead of time, and after a change of the config in the middle of a run."""

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from afa.engine.checkpoints.fit import CheckpointError, some_names

# What a schedule has become, not what it was built from.
_PROGRESS = {"last_step", "_global_step", "_last_value", "base_values", "verbose"}
_PROGRESS |= {"best", "num_bad_epochs", "cooldown_counter", "optimizer"}
# How torch computes a step, which no result depends on but for the last bits.
_TECHNICAL = {"params", "foreach", "fused", "capturable", "differentiable"}


def zero_rate_from(runner: Runner) -> int | None:
    """Say from which iteration on the learning rate is 0 up to the last one, if it is.

    Args:
        runner: The runner of a training with one optimizer, before its next iteration.

    Returns:
        The iteration, counted from 0; None if the last one still learns.
    """
    loop, wrapper = runner.train_loop, runner.optim_wrapper
    groups = getattr(wrapper, "param_groups", None)
    schedules = runner.param_schedulers or []
    if not isinstance(groups, list) or isinstance(schedules, dict):
        return None
    starts = [group.get("initial_lr", group["lr"]) for group in groups]
    highest = starts.index(max(starts))
    one = SimpleNamespace(param_groups=[{**groups[highest]}], step=None, _global_step=0)
    copies = []
    for schedule in schedules:
        if schedule.param_name == "lr" and not _follows_figures(schedule):
            copies.append(copy.copy(schedule))
            copies[-1].optimizer = one
            copies[-1].base_values = [schedule.base_values[highest]]
    first = None
    for iteration in range(loop.iter, loop.max_iters):
        if one.param_groups[0]["lr"] != 0:
            first = None
        elif first is None:
            first = iteration
        _step(copies, iteration + 1, _epoch_length(runner))
    return first


def follow_config(runner: Runner, checkpoint: dict[str, Any], path: str) -> list[str]:
    """Let rate, weight decay and schedules of a checkpoint be those that the config says.

    mmengine takes all of them from the checkpoint. Here they are what a run with the config of now
    would have at this iteration; what the optimizer has gathered stays.

    Args:
        runner: The runner, with optimizer and schedules as they are built, before they are loaded.
        checkpoint: What is resumed from; its optimizer and schedules are changed where they differ.
        path: Its file, for messages.

    Returns:
        What differs, in a few words each; nothing is changed where nothing does.

    Raises:
        CheckpointError: If what differs cannot be followed.
    """
    wrapper, saved = runner.optim_wrapper, checkpoint.get("optimizer", {})
    if not isinstance(getattr(wrapper, "param_groups", None), list) or "param_groups" not in saved:
        return []  # several optimizers
    old, new = list(saved["param_groups"]), list(wrapper.optimizer.param_groups)
    if "base_param_settings" in saved:  # of mmengine, for the log
        old, new = [*old, saved["base_param_settings"]], wrapper.param_groups
    sizes = [[_size(group["params"]) for group in groups] for groups in (old, new)]
    if sizes[0] != sizes[1]:
        raise CheckpointError(
            f"'{path}' was trained with {len(old)} groups of parameters, this run has {len(new)}, "
            "or others: give the old optim_wrapper.paramwise_cfg, or begin anew with its weights "
            "(load_from without resume)."
        )
    schedules, states = runner.param_schedulers or [], checkpoint.get("param_schedulers") or []
    differences = _compare_groups(old, new, {schedule.param_name for schedule in schedules})
    differences += _compare_schedules(states, schedules)
    if not differences:
        return []
    if any(_follows_figures(schedule) for schedule in schedules):
        raise CheckpointError(
            f"'{path}' was trained with {some_names(differences)}, and what a schedule that "
            "follows figures would have done cannot be told: give the old values, or begin anew "
            "with its weights (load_from without resume)."
        )
    length = _epoch_length(runner)
    for iteration in range(1, checkpoint["meta"]["iter"] + 1):
        _step(schedules, iteration, length)
    for was, now in zip(old, new, strict=True):
        kept = {key: value for key, value in was.items() if key in _TECHNICAL}
        was.clear()
        was.update({**now, **kept})
    if schedules:
        checkpoint["param_schedulers"] = [schedule.state_dict() for schedule in schedules]
    return differences


def _step(schedules: Iterable[Any], iteration: int, epoch_length: int) -> None:
    """Step schedules after an iteration, counted from 1, as mmengine's hook does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step of the optimizer comes before
        for schedule in schedules:
            if not schedule.by_epoch or (epoch_length and iteration % epoch_length == 0):
                schedule.step()


def _epoch_length(runner: Runner) -> int:
    """Iterations of an epoch; 0 in a run that counts none."""
    loop = runner.train_loop
    return len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0


def _follows_figures(schedule: Any) -> bool:
    return isinstance(schedule, ReduceOnPlateauParamScheduler)


def _size(params: Any) -> int:
    return len(params) if isinstance(params, list) else 0


def _compare_groups(old: Sequence[dict], new: Sequence[dict], scheduled: set[str]) -> list[str]:
    """Name what the groups of an optimizer differ in; a value that is scheduled by its start."""
    found: dict[str, str] = {}
    for was, now in zip(old, new, strict=True):
        for key in sorted(set(was) & set(now) - _TECHNICAL - scheduled):
            if _plain(was[key]) != _plain(now[key]):
                name = key.removeprefix("initial_")
                found.setdefault(name, f"{name} {was[key]} (now {now[key]})")
    return list(found.values())


def _compare_schedules(states: Sequence[Mapping[str, Any]], schedules: Sequence[Any]) -> list[str]:
    """Name what the schedules differ in."""
    if len(states) != len(schedules):
        return [f"{len(states)} schedules (now {len(schedules)})"]
    found = []
    for index, (was, schedule) in enumerate(zip(states, schedules, strict=True)):
        now = schedule.state_dict()
        for key in sorted((set(was) | set(now)) - _PROGRESS):
            if _plain(was.get(key)) != _plain(now.get(key)):
                values = f"{was.get(key)} (now {now.get(key)})"
                found.append(f"param_scheduler.{index}.{key} {values}")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

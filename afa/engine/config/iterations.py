"""Give a training another number of iterations: all that counts them moves together."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from mmengine.config import Config

_SCHEDULE_COUNTS = ("T_max", "step_size", "total_steps")  # of schedules, beside begin and end
_SCHEDULE_LISTS = ("milestones", "periods")
_UNSCALABLE = ("ExponentialLR", "ReduceOnPlateauLR")  # their rate is one of a single iteration
_MIN_LOG_LINES = 10


def scale_iterations(cfg: Config, max_iters: int) -> None:
    """Shorten or lengthen a training: phases, schedule, validations, checkpoints and pictures.

    Every place keeps its share of the run, and what comes once in so many iterations comes as
    often in the run as before. Log lines keep their interval, but there are ten at least.

    Args:
        cfg: the config of a training counted in iterations; changed in place.
        max_iters: the new number of iterations.

    Raises:
        ValueError: if the number is below 1 or too small for the phases, or the config counts
            epochs or has a schedule that cannot be scaled.
    """
    if max_iters < 1:
        raise ValueError(f"--iters must be 1 or more, got {max_iters}.")
    loop = cfg.get("train_cfg") or {}
    old = loop.get("max_iters") if isinstance(loop, Mapping) else None
    if not isinstance(old, int) or old < 1:
        raise ValueError(
            "--iters needs a config with train_cfg.max_iters, the number of iterations that its "
            "phases and schedule were made for."
        )
    scale = _Scale(old, max_iters)
    loop["max_iters"] = max_iters
    _scale_keys(cfg, scale.place, "max_iters")  # the name that configs give it
    _scale_keys(loop, scale.interval, "val_interval")
    _scale_keys(loop, scale.place, "val_begin")
    if loop.get("dynamic_intervals"):
        pairs = loop["dynamic_intervals"]
        loop["dynamic_intervals"] = [(scale.place(at), scale.interval(n)) for at, n in pairs]
    _scale_schedule(cfg.get("param_scheduler"), scale)
    hooks = cfg.get("default_hooks") or {}
    saving = hooks.get("checkpoint") or {}
    _scale_keys(saving, scale.interval, "interval")
    _scale_keys(saving, scale.place, "save_begin")
    _scale_keys(
        hooks.get("logger") or {}, lambda n: min(n, -(-max_iters // _MIN_LOG_LINES)), "interval"
    )
    for hook in cfg.get("custom_hooks") or []:
        if hook.get("type") == "WSSSVisualizationHook":
            _scale_keys(hook, scale.interval, "interval")
        _scale_keys(hook, scale.place, "begin_iter")
        if isinstance(hook.get("phases"), Mapping):
            hook["phases"] = _scale_phases(dict(hook["phases"]), scale)


class _Scale:
    """From a run of ``old`` iterations to one of ``new``."""

    def __init__(self, old: int, new: int) -> None:
        self.old, self.new = old, new

    def place(self, count: int) -> int:
        """Where an iteration comes to lie; what is behind the end stays as far behind it."""
        if count >= self.old:
            return self.new + count - self.old
        return round(count * self.new / self.old)

    def interval(self, count: int) -> int:
        """Once in how many iterations: rounded up, so that it is not more often in the run."""
        return max(1, math.ceil(count * self.new / self.old)) if count > 0 else count


def _scale_keys(node: Any, scaled: Any, *keys: str) -> None:
    """Scale the whole numbers among some entries; what is of another type is the check's to say."""
    for key in keys:
        value = node.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            node[key] = scaled(value)


def _scale_phases(phases: dict[str, Any], scale: _Scale) -> dict[str, Any]:
    if not all(isinstance(begin, int) for begin in phases.values()):
        return phases
    scaled = {name: scale.place(begin) for name, begin in phases.items()}
    begins = [*sorted(phases.values()), scale.old]
    ends = [*sorted(scaled.values()), scale.new]
    gap = min(b - a for a, b in pairwise(begins))
    if gap > 0 and min(b - a for a, b in pairwise(ends)) < 1:  # else it is for PhaseHook to say
        raise ValueError(
            f"--iters {scale.new} is too few for the phases {', '.join(phases)}: with "
            f"{math.ceil(scale.old / gap)} each has an iteration of its own."
        )
    return scaled


def _schedules(node: Any) -> Iterator[Any]:
    """Give the schedules of one optimizer, or of several by name."""
    if isinstance(node, Mapping) and "type" not in node:
        for one in node.values():
            yield from _schedules(one)
    elif isinstance(node, Mapping):
        yield node
    elif isinstance(node, (list, tuple)):
        for one in node:
            yield from _schedules(one)


def _scale_schedule(node: Any, scale: _Scale) -> None:
    """Scale schedules; one that overlaps the next by an iteration, as a warm-up does, still does.

    Raises:
        ValueError: if one counts epochs, or its rate is not one of a run.
    """
    schedules = list(_schedules(node))
    begins = {one.get("begin", 0) for one in schedules}
    for one in schedules:
        name = one.get("type")
        if one.get("by_epoch", True):
            raise ValueError(f"--iters: param_scheduler {name} counts epochs: set by_epoch=False.")
        if name in _UNSCALABLE:
            raise ValueError(
                f"--iters cannot scale the param_scheduler {name}: set train_cfg.max_iters and its "
                "arguments by --cfg-options."
            )
        begin, end = one.get("begin", 0), one.get("end")
        _scale_keys(one, scale.place, "begin")
        if isinstance(end, int) and isinstance(begin, int):
            overlaps = end - 1 in begins and end - 1 != begin
            scaled = scale.place(end - 1) + 1 if overlaps else scale.place(end)
            one["end"] = max(scaled, one.get("begin", 0) + min(2, end - begin))
        _scale_keys(one, lambda n: max(1, scale.place(n)), *_SCHEDULE_COUNTS)
        for key in _SCHEDULE_LISTS:
            if isinstance(one.get(key), (list, tuple)):
                one[key] = [max(1, scale.place(n)) for n in one[key]]

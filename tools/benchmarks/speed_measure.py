"""Measure one part beside its reference: time, memory, and how far it is from the machine's limits.

Part and reference take turns, so that a machine that gets slower meanwhile slows both.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_VIEWS = ("view", "reshape", "transpose", "permute", "expand", "slice", "select", "detach", "t",
          "as_strided", "unsqueeze", "squeeze", "alias", "split", "chunk", "unbind", "empty",
          "_unsafe_view")  # fmt: skip
MAX_REPEATS = 9


@dataclass(frozen=True)
class Case:
    """What is measured.

    Args:
        title: a row of the table.
        ours: computes the part.
        reference: computes the same the usual way; None for a part without reference.
        target: ratio of the times that is asked for: at least, aim; None for none.
        memory: also look at the peak memory, which is asked for to be ``memory_target``.
        memory_target: share of the reference's peak memory: at most, aim.
        work: bytes that must be moved and operations, where they are known; else they are counted.
        counted: False where nothing can be counted (processes, files).
        budget: seconds for the repetitions of part and reference together.
        notes: what else belongs to the result.
    """

    title: str
    ours: Callable[[], Any]
    reference: Callable[[], Any] | None = None
    target: tuple[float, float] | None = None
    memory: bool = False
    memory_target: tuple[float, float] | None = None
    work: tuple[float, float] | None = None
    counted: bool = True
    budget: float = 25.0
    notes: dict[str, Any] = field(default_factory=dict)


def measure_case(case: Case, device: str, limits: dict[str, float]) -> dict[str, Any]:
    """Measure a part and its reference.

    Args:
        case: the part.
        device: where it computes.
        limits: what :func:`machine_limits` gives.

    Returns:
        ``ours`` and ``reference`` (seconds: median, fastest, slowest, and number of runs),
        ``ratio``, with ``memory`` the peak MiB of both and their ``memory_ratio``, and with known
        work ``bytes``, ``operations``, ``floor`` (seconds the machine needs at least) and
        ``above_floor`` (ours / floor).
    """
    funcs = [case.ours] if case.reference is None else [case.ours, case.reference]
    times = take_turns(funcs, device, case.budget)
    names = ("ours", "reference")
    result: dict[str, Any] = dict(title=case.title, notes=case.notes)
    result.update(zip(names, (spread(values) for values in times), strict=False))
    if case.reference is not None:
        result["ratio"] = result["reference"]["median"] / result["ours"]["median"]
    if case.target is not None:
        result["target"] = list(case.target)
    if case.memory:
        peaks = dict(zip(names, (peak_memory(func, device) for func in funcs), strict=False))
        result["memory"] = peaks
        ours, usual = peaks["ours"], peaks.get("reference")
        if ours is not None and usual:
            result["memory_ratio"] = ours / usual
        result["memory_target"] = None if case.memory_target is None else list(case.memory_target)
    if case.work is not None or case.counted:
        moved, operations = case.work or count_work(case.ours)
        floor = max(moved / limits["bytes_per_second"], operations / limits["flops"])
        above = result["ours"]["median"] / floor if floor else None
        result.update(bytes=moved, operations=operations, floor=floor, above_floor=above)
    return result


def take_turns(
    funcs: Sequence[Callable[[], Any]], device: str, budget: float, most: int = MAX_REPEATS
) -> list[list[float]]:
    """Run functions in turn, once to warm up, then until the seconds of the budget are spent.

    Args:
        funcs: the functions.
        device: where they compute.
        budget: seconds; two rounds are run in any case.
        most: rounds at most.

    Returns:
        The seconds of each run, by function.
    """
    for func in funcs:
        timed(func, device)
    times: list[list[float]] = [[] for _ in funcs]
    begin = time.perf_counter()
    for done in range(most):
        if done >= 2 and time.perf_counter() - begin > budget * done / (done + 1):
            break
        for func, seconds in zip(funcs, times, strict=True):
            seconds.append(timed(func, device))
    return times


def timed(func: Callable[[], Any], device: str) -> float:
    """Seconds that a function takes, until the device has finished."""
    _synchronize(device)
    begin = time.perf_counter()
    func()
    _synchronize(device)
    return time.perf_counter() - begin


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, fastest and slowest of some runs, and their number."""
    return dict(
        median=statistics.median(seconds), low=min(seconds), high=max(seconds), runs=len(seconds)
    )


def peak_memory(func: Callable[[], Any], device: str) -> float | None:
    """Peak memory of a run above what is held before it, in MiB.

    On CUDA what torch has allocated; on CPU the resident memory of this process, whose mark Linux
    lets a process reset.

    Returns:
        MiB; None where the system tells nothing.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        func()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        with suppress(OSError, AttributeError):  # what was freed goes back to the system
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        _CLEAR.write_text("5")
        resident = _status("VmRSS")
    except OSError:
        return None
    func()
    return _status("VmHWM") - resident


def _status(name: str) -> float:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


class _Traffic(TorchDispatchMode):
    """Sum up the bytes of what operations read and write, each tensor once per operation."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name.split("::")[-1] not in _VIEWS:
            results = _tensors(out)
            self.bytes += sum(t.numel() * t.element_size() for t in [*_tensors(args), *results])
            self.elements += sum(t.numel() for t in results)
        return out


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, (list, tuple)):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def count_work(func: Callable[[], Any]) -> tuple[float, float]:
    """Count what a run moves and computes, operation by operation.

    Returns:
        Bytes that its operations read and write (a fused program or a cache moves fewer), and
        operations: two for each multiplication of a matrix product, convolution or attention, one
        for each number that any operation gives.
    """
    traffic = _Traffic()
    with FlopCounterMode(display=False) as flops, traffic:
        func()
    return float(traffic.bytes), float(flops.get_total_flops() + traffic.elements)


def machine_limits(
    device: str,
    dtype: torch.dtype = torch.float32,
    numbers: int = 2**26,
    side: int | None = None,
    seconds: float = 1.5,
) -> dict[str, float]:
    """Measure what the machine can do at most.

    Args:
        device: of the measurement.
        dtype: of the matrix product.
        numbers: float32 numbers that are copied: 256 MiB.
        side: of the matrices; by default 8192 on a GPU, else 1536.
        seconds: budget of each measurement.

    Returns:
        ``bytes_per_second`` (read and written) of a copy and ``flops`` of a large matrix product,
        the best of some runs each.
    """
    source = torch.zeros(numbers, device=device)
    target = torch.empty_like(source)
    copy = min(take_turns([lambda: target.copy_(source)], device, seconds)[0])
    side = side or (8192 if torch.device(device).type == "cuda" else 1536)
    matrix = torch.randn(side, side, device=device).to(dtype)
    product = min(take_turns([lambda: matrix @ matrix], device, seconds)[0])
    return dict(bytes_per_second=2 * 4 * numbers / copy, flops=2 * side**3 / product)

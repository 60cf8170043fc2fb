"""Kill a training again and again, resume it, and compare it with one that was left in peace.

What the two have left, checkpoints and logs, is compared bit for bit. Processes are forked from the
one that has imported everything, so that each start costs a fraction of a second (Linux, CPU).
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.runner import IterBasedTrainLoop, ValLoop

from afa.engine.dist import saying_what_was_lost
from afa.engine.hooks import checkpoint_hook
from afa.engine.runner import build_runner
from afa.utils.checkpoint import load_state

# After a process has died, the others must end by themselves within this time.
PATIENCE = 60.0
KINDS = ("any time", "half a checkpoint", "checkpoint moved", "validation", "iteration")
# What a checkpoint holds beside the story of how it came about.
_PARTS = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
_NOT_COMPARED = ("time", "memory", "eta")


class Kill(NamedTuple):
    """When to kill: a kind of :data:`KINDS`, and at which occurrence or share of the run."""

    kind: str
    number: int
    share: float


def kill_and_resume(
    cfg: Config,
    work_dir: str | Path,
    kills: int = 3,
    processes: int = 1,
    amp: bool = False,
    seed: int = 0,
    say: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """Train once in peace and as often as it takes under kills, and compare.

    Args:
        cfg: Config of a short training on CPU, with checkpoints and validation.
        work_dir: Folder for both; it is emptied first.
        kills: SIGKILLs to survive; as many runs are made as they need.
        processes: Processes of the training, which talk through gloo. One of them is killed.
        amp: Train in bfloat16.
        seed: Draws the moments.
        say: Told about each kill and each run.

    Returns:
        ``kills`` by kind, ``runs`` that were needed, the longest time that the other processes
        took to end (``slowest_end``), and the ``differences`` between the runs: none are wanted.

    Raises:
        RuntimeError: If a training ends with an error of its own, or not at all.
    """
    work, draw = Path(work_dir), random.Random(seed)
    shutil.rmtree(work, ignore_errors=True)
    whole = _Training(cfg, work / "whole", processes, amp)
    start = time.monotonic()
    whole.run(None, 0.0)
    seconds = time.monotonic() - start
    result: dict[str, Any] = dict(kills={}, runs=0, slowest_end=0.0, differences=[])
    left = kills
    while left or not result["runs"]:
        result["runs"] += 1
        killed = _Training(cfg, work / f"killed_{result['runs']}", processes, amp)
        for _ in itertools.count():
            plan = _draw(draw) if left else None
            if not killed.run(plan, seconds):
                break
            assert plan is not None
            left -= 1
            result["kills"][plan.kind] = result["kills"].get(plan.kind, 0) + 1
            say(f"killed: {plan.kind} {plan.number}")
        result["slowest_end"] = max(result["slowest_end"], killed.slowest_end)
        found = run_differences(whole.work, killed.work)
        result["differences"] += [f"run {result['runs']}: {line}" for line in found]
        say(f"run {result['runs']} has ended: {len(found)} differences")
    return result


def _draw(draw: random.Random) -> Kill:
    return Kill(draw.choice(KINDS), draw.randint(1, 4), 0.6 * draw.random())


class _Training:
    """A training in a folder, in processes of its own."""

    def __init__(self, cfg: Config, work: Path, processes: int, amp: bool) -> None:
        self.cfg = cfg.copy()
        self.cfg.work_dir = str(work)
        self.cfg.launcher = "none" if processes == 1 else "pytorch"
        self.work, self.processes, self.amp = work, processes, amp
        self.slowest_end = 0.0

    def run(self, plan: Kill | None, seconds: float) -> bool:
        """Start or resume, and return whether the run was killed before its end."""
        port, victim = _free_port(), (plan.number % self.processes if plan else -1)
        context = multiprocessing.get_context("fork")
        started = [
            context.Process(target=self._process, args=(rank, port, plan, rank == victim))
            for rank in range(self.processes)
        ]
        for process in started:
            process.start()
        if plan and plan.kind == "any time":
            started[victim].join(plan.share * seconds)
            started[victim].kill()
        if plan:
            started[victim].join()
        try:
            self._wait(started, None if plan is None else PATIENCE)
        finally:
            for process in started:
                process.kill()
                process.join()
        codes = [process.exitcode for process in started]
        if -signal.SIGKILL in codes:
            return True
        if any(codes):
            raise RuntimeError(f"A process ended with status {codes}: see {self.work}-*.log.")
        return False

    def _wait(self, started: list[Any], patience: float | None) -> None:
        """Wait for all processes.

        Raises:
            RuntimeError: If one does not end in time.
        """
        begin = time.monotonic()
        for process in started:
            spent = time.monotonic() - begin
            process.join(None if patience is None else max(0.1, patience - spent))
            if process.exitcode is None:
                raise RuntimeError(f"A process did not end {patience} s after another had died.")
        if patience is not None:
            self.slowest_end = max(self.slowest_end, time.monotonic() - begin)

    def _process(self, rank: int, port: int, plan: Kill | None, is_victim: bool) -> None:
        """Train, in the process of its own; only the victim is armed."""
        self.work.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(f"{self.work}-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        torch.set_num_threads(1)
        names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=self.processes, MASTER_PORT=port)
        os.environ.update({name: str(value) for name, value in names.items()})
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        if plan and is_victim:
            _arm(plan)
        with saying_what_was_lost():
            build_runner(self.cfg, amp=self.amp, resume="auto").train()


def _arm(plan: Kill) -> None:
    """Let this process kill itself when the moment comes."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(backend: Any, obj: bytes, path: str) -> None:
        Path(path).write_bytes(bytes(obj[: len(obj) // 2]))
        die()

    place: tuple[Any, str, Callable] | None = {
        "half a checkpoint": (LocalBackend, "put", half),
        "validation": (ValLoop, "run_iter", die),
        "iteration": (IterBasedTrainLoop, "run_iter", die),
    }.get(plan.kind)
    if plan.kind == "checkpoint moved":
        replace = os.replace

        def moved(*args: Any) -> None:
            with suppress(OSError):
                replace(*args)
            die()

        place = (checkpoint_hook.os, "replace", moved)
    if place is None:
        return
    owner, name, last = place
    usual, count = getattr(owner, name), itertools.count(1)

    def counted(*args: Any, **kwargs: Any) -> Any:
        return (last if next(count) == plan.number else usual)(*args, **kwargs)

    setattr(owner, name, counted)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run_differences(one: str | Path, other: str | Path) -> list[str]:
    """Name what differs between the last checkpoints and the logs of two runs.

    Times and memory are left out, and so is what a log says twice: of an iteration the last line
    counts.

    Args:
        one: Work dir of a run.
        other: Work dir of the other.

    Returns:
        One line for each difference.

    Raises:
        ValueError: If a run has left no checkpoint.
    """
    states = [load_state(_last(Path(folder))) for folder in (one, other)]
    found: list[str] = []
    for part in _PARTS:
        found += _differences(part, *(state.get(part) for state in states))  # type: ignore[attr-defined]
    found += _differences("history", *(_history(state) for state in states))
    found += _differences("log", *(read_log(folder) for folder in (one, other)))
    names = [sorted(path.name for path in Path(folder).glob("*.pth")) for folder in (one, other)]
    return found + list(_differences("checkpoints", *names))


def _last(work: Path) -> Path:
    found = [path for path in work.glob("iter_*.pth")]
    if not found:
        raise ValueError(f"There is no checkpoint in '{work}'.")
    return max(found, key=lambda path: int(path.stem.split("_")[1]))


def _compared(name: str) -> bool:
    return not any(word in name for word in _NOT_COMPARED)


def _history(state: Any) -> dict[str, Any]:
    """Return the figures that the run remembers, by name."""
    scalars = state["message_hub"]["log_scalars"]
    return {name: scalars[name].data[0] for name in scalars if _compared(name)}


def read_log(work: str | Path) -> dict[str, dict[str, Any]]:
    """Read the figures that a run, resumed or not, has logged.

    Args:
        work: Its work dir.

    Returns:
        Iteration (and kind) -> name -> figure; of lines for the same iteration the last one.
    """
    lines: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(work).glob("*/vis_data/scalars.json"), key=lambda p: p.parts[-3]):
        for text in path.read_text().splitlines():
            try:
                figures = json.loads(text)
            except ValueError:
                continue  # cut off by a kill
            kind = "train" if "loss" in figures else "val"
            kept = {name: value for name, value in figures.items() if _compared(name)}
            lines[f"{kind} {figures.get('step')}"] = kept
    return lines


def _differences(place: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}, key=str):
            if key in one and key in other:
                yield from _differences(f"{place}.{key}", one[key], other[key])
            else:
                yield f"{place}.{key} is missing in the {'second' if key in one else 'first'} run"
    elif isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(f"{place}[{index}]", *pair)
    elif not _same(one, other):
        yield f"{place} differs"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
    return type(one) is type(other) and (one == other or (one != one and other != other))

"""Kill a training again and again, resume it, and compare it with one that was left in peace.

Processes are forked from the one that has imported everything, so that each start costs a fraction
of a second (Linux, CPU).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.runner import IterBasedTrainLoop, ValLoop

from afa.engine.hooks import checkpoint_hook
from afa.engine.lost_process import saying_what_was_lost
from afa.engine.runner import build_runner
from afa.testing.run_differences import run_differences

# After a process has died, the others must end by themselves within this time.
PATIENCE = 60.0
KINDS = ("any time", "half a checkpoint", "checkpoint moved", "validation", "iteration")


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

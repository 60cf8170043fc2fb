"""Worker processes that give their results in the order of the work."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from typing import Any

_MAX_WORKERS = 8
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDiedError(RuntimeError):
    """A worker process that ended without a result."""

    exit_status = 1


def default_workers() -> int:
    """Give every core of this process's share but one to workers, up to eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = (cores or 1) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return max(1, min(_MAX_WORKERS, share - 1))


class OrderedPool:
    """Compute in worker processes; results come in the order in which the work was handed in.

    The workers are started afresh (spawn), never forked: a fork of a process that runs torch may
    hang. They import what ``func`` needs and nothing else, so keep its module light. They use one
    thread each, leave Ctrl-C to the parent and end with it.

    ::

        with OrderedPool(func, num_workers=4) as pool:
            for args in work:
                pool.submit(*args)
                for result in pool.done():
                    ...
            for result in pool:
                ...

    ``pool.map(work)`` is this loop. A script of your own that starts workers must do so under
    ``if __name__ == "__main__":``.

    Args:
        func: A function of a module, or a partial of one; its arguments and result are pickled.
        num_workers: Number of processes; 0 computes in this process, in :meth:`submit`.
        max_pending: Most jobs that wait or are computed at a time; by default two per worker.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, func: Callable[..., Any], num_workers: int, max_pending: int | None = None
    ) -> None:
        if int(num_workers) != num_workers or num_workers < 0:
            raise ValueError(
                f"The number of worker processes must be 0 or more, got {num_workers}: "
                "0 computes in the main process."
            )
        if max_pending is not None and max_pending < 1:
            raise ValueError(f"max_pending must be 1 or more, got {max_pending}.")
        self.func = func
        self.num_workers = int(num_workers)
        self.max_pending = max(1, 2 * self.num_workers) if max_pending is None else max_pending
        self._pending: deque[Future] = deque()
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> OrderedPool:
        if self.num_workers:
            self._executor = ProcessPoolExecutor(
                self.num_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin_worker,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None
        self._pending.clear()

    def __len__(self) -> int:
        """Return how many jobs have been handed in whose result has not been taken."""
        return len(self._pending)

    def submit(self, *args: Any) -> None:
        """Hand in the arguments of a job; waits while ``max_pending`` jobs are not finished yet.

        Raises:
            WorkerDiedError: If a worker process has ended.
        """
        if self.num_workers == 0:
            self._pending.append(_run_here(self.func, args))
            return
        assert self._executor is not None, "an OrderedPool is used in a with statement"
        limit = self.max_pending
        while len(unfinished := [job for job in self._pending if not job.done()]) >= limit:
            wait(unfinished, return_when=FIRST_COMPLETED)
        try:
            self._pending.append(self._executor.submit(_run, self.func, args))
        except BrokenProcessPool as error:
            raise _died(self.num_workers) from error

    def done(self) -> Iterator[Any]:
        """Yield the results that are next in order and ready.

        Waits only while more than ``max_pending`` results have not been taken, so that a slow job
        does not make those behind it pile up.

        Raises:
            Exception: What the function raised, at the place of its result.
        """
        while self._pending and (self._pending[0].done() or len(self._pending) > self.max_pending):
            yield self._take()

    def __iter__(self) -> Iterator[Any]:
        """Yield all results that remain, in order; waits for each."""
        while self._pending:
            yield self._take()

    def map(self, work: Iterable[tuple]) -> Iterator[Any]:
        """Yield the result of every tuple of arguments, in order; ``work`` is read as needed."""
        for args in work:
            self.submit(*args)
            yield from self.done()
        yield from self

    def _take(self) -> Any:
        try:
            return self._pending.popleft().result()
        except BrokenProcessPool as error:
            raise _died(self.num_workers) from error


def _died(num_workers: int) -> WorkerDiedError:
    return WorkerDiedError(
        f"One of {num_workers} worker processes ended without a result, which happens when memory "
        "runs out: use fewer workers. (A script of your own must start them under "
        '`if __name__ == "__main__":`.)'
    )


def _run_here(func: Callable[..., Any], args: tuple) -> Future:
    """Compute at once; an error waits for its turn as it does with workers."""
    job: Future = Future()
    try:
        job.set_result(func(*args))
    except Exception as error:
        job.set_exception(error)
    return job


def _run(func: Callable[..., Any], args: tuple) -> Any:
    """Compute in a worker; make sure that an error survives the way back."""
    try:
        return func(*args)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
        raise


def _begin_worker() -> None:
    """Set up a worker, before it imports what it computes with."""
    for name in _THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "only for worker processes"

    def end_with_parent() -> None:
        wait_for_end([parent.sentinel])
        os._exit(1)

    # The queue of work stays open when the parent is killed: without this, workers would remain.
    threading.Thread(target=end_with_parent, daemon=True).start()

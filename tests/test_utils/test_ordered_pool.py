import os
import subprocess
import sys
import time
from functools import partial

import pytest

from afa.utils.ordered_pool import OrderedPool, WorkerDiedError, default_workers


def _square(number, delay=0.0):
    time.sleep(delay)
    return number * number


def _who(_):
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def _refuse(number):
    if number == 2:
        raise ValueError(f"number {number} is refused")
    return number


class _AwkwardError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def _awkward(_):
    raise _AwkwardError("this", "that")


def _die(_):
    os._exit(3)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_results_in_order(num_workers):
    # The first jobs take longest, so that two workers finish them out of order.
    work = [(n, 0.05 if n < 2 else 0.0) for n in range(8)]
    with OrderedPool(_square, num_workers) as pool:
        assert list(pool.map(work)) == [n * n for n in range(8)]
        assert len(pool) == 0


def test_submit_done_and_iteration_give_what_map_gives():
    found = []
    with OrderedPool(partial(_square, delay=0.01), 2) as pool:
        for number in range(9):
            pool.submit(number)
            found += pool.done()
            assert len(pool) <= pool.max_pending
        found += pool
    assert found == [n * n for n in range(9)]


def test_work_is_read_as_needed():
    read = []

    def numbers():
        for number in range(20):
            read.append(number)
            yield (number,)

    with OrderedPool(_square, 1, max_pending=3) as pool:
        results = pool.map(numbers())
        next(results)
        assert len(read) <= 5  # one taken, three pending, one about to be handed in
        assert list(results)[-1] == 19 * 19


def test_workers_are_other_processes_with_one_thread():
    with OrderedPool(_who, 1) as pool:
        (pid, threads), *_ = pool.map([(0,), (1,)])
    assert pid != os.getpid() and threads == "1"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)  # it has ended


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_in_its_turn_with_its_sentence(num_workers):
    with OrderedPool(_refuse, num_workers) as pool:
        results = pool.map((n,) for n in range(5))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match=r"^number 2 is refused$"):
            next(results)


def test_an_error_that_cannot_travel_becomes_one_that_can():
    with OrderedPool(_awkward, 1) as pool, pytest.raises(RuntimeError, match="this and that"):
        list(pool.map([(0,)]))


def test_a_dead_worker_is_reported():
    with OrderedPool(_die, 1) as pool, pytest.raises(WorkerDiedError, match="use fewer workers"):
        list(pool.map([(n,) for n in range(6)]))


@pytest.mark.parametrize("number", [-1, 1.5])
def test_wrong_number_of_workers(number):
    with pytest.raises(ValueError, match=f"must be 0 or more, got {number}"):
        OrderedPool(_square, number)


def test_wrong_bound():
    with pytest.raises(ValueError, match="max_pending must be 1 or more, got 0"):
        OrderedPool(_square, 1, max_pending=0)


def test_cores_are_shared_by_the_processes_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert default_workers() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert default_workers() == 5
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "12")
    assert default_workers() == 1


def _ended(pid):
    """Tell whether a process has ended; where nobody collects orphans it remains as a zombie."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


PARENT = """
import sys, time
sys.path.insert(0, {folder!r})
from afa.utils.ordered_pool import OrderedPool
from test_ordered_pool import _who

if __name__ == "__main__":
    with OrderedPool(_who, 1) as pool:
        pool.submit(0)
        print(next(iter(pool))[0], flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(folder=os.path.dirname(__file__)))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while not _ended(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.1)

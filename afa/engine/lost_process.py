"""Say it in a sentence when another process of the run has died."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine import dist

# What gloo, nccl and torch's store say when the other end of a connection has gone.
_GONE = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|[Gg]loo|NCCL|TCPStore|Socket Timeout|Timed out"
)


class LostProcessError(RuntimeError):
    """Another process of the run has ended."""

    exit_status = 1


@contextmanager
def saying_what_was_lost() -> Iterator[None]:
    """Turn the error of a broken connection into a sentence; its traceback would bury the cause.

    Raises:
        LostProcessError: In a run of several processes, if one of the others has gone.
    """
    try:
        yield
    except RuntimeError as error:  # torch's DistError is one
        if dist.get_world_size() == 1 or not _GONE.search(str(error)):
            raise
        raise LostProcessError(
            f"Process {dist.get_rank()} ends because another process of this run has ended: its "
            "own message, or the signal that killed it, is the cause. Go on with --resume."
        ) from error

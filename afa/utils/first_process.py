"""Work that one process does for all."""

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine import dist

T = TypeVar("T")


def first_process(func: Callable[[], T]) -> T:
    """Call a function in the first process alone and give every process what it returned.

    What it returns is pickled on the way.

    Raises:
        ValueError: In every process, if it raised one.
        OSError: Likewise.
    """
    answer: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            answer[0] = func()
        except (ValueError, OSError) as error:
            answer[1] = error
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]

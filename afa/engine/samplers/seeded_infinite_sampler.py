"""Give every sample of a run its own seed."""

import itertools
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS


class SampleIndex(int):
    """Index of a sample that carries a seed; elsewhere it is a plain int."""

    seed: int

    def __new__(cls, index: int, seed: int) -> "SampleIndex":
        """Make an index with a seed."""
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Give what it is made of, for the way to a worker process."""
        return int(self), self.seed


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """mmengine's InfiniteSampler whose n-th index carries a seed made of n.

    The augmentation of a sample then depends on its place in the run, and neither on the worker
    that makes it nor on what was drawn before: a resumed run sees the images that the run in one
    piece sees. `ReproducibleHook` reads the seeds. The place is counted over all processes.

    Args:
        dataset: The data set.
        shuffle: Whether to shuffle it.
        seed: Seed of the run; mmengine's runner gives it. None draws one.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle=shuffle, seed=seed)

    def _indices_of_rank(self) -> Iterator[int]:
        """Yield the indices of this process."""
        yield from self._seeded(0)

    def skip(self, num_samples: int) -> None:
        """Go to the place of a resumed run; nothing is loaded, and no seed is made in vain.

        Args:
            num_samples: How many indices this process has had, from the start of the run.

        Raises:
            ValueError: If the number is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must not be negative, got {num_samples}.")
        self.indices = self._seeded(num_samples)

    def _seeded(self, begin: int) -> Iterator[int]:
        plain = itertools.islice(super()._indices_of_rank(), begin, None)
        for count, index in enumerate(plain, begin):
            place = self.rank + count * self.world_size
            seed = np.random.SeedSequence((self.seed, place)).generate_state(1)[0]
            yield SampleIndex(index, int(seed))

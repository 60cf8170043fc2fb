"""Make what a run draws depend on its seed and its place alone: the sampler, and its hook."""

import itertools
import random
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS, HOOKS


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
    piece sees. :class:`ReproducibleHook` reads the seeds. The place is counted over all processes.

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
            yield SampleIndex(index, _mixed_seed(self.seed, place))


@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Let a resumed run draw the numbers that the run in one piece would have drawn.

    mmengine resumes weights, optimizer and the order of the images, but no random state. This
    hook seeds each iteration (dropout, drop path) by its number, and each sample (augmentation)
    by its place; the latter needs `sampler=dict(type='SeededInfiniteSampler')`. Several
    processes draw different numbers.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Put the seeding in front of the pipeline, before workers copy it."""
        for transforms in pipelines_of(runner.train_dataloader.dataset):
            if not any(isinstance(t, _SeedTransform) for t in transforms):
                transforms.insert(0, _SeedTransform())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the iteration."""
        self._seed(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed the validation: a resumed run may have to make up for it."""
        self._seed(runner, 1)

    def _seed(self, runner: Runner, *purpose: int) -> None:
        _set_seeds(_mixed_seed(runner.seed or 0, runner.iter, runner.rank, *purpose))


def pipelines_of(dataset: Any) -> list[list[Any]]:
    """List the steps of every pipeline of a data set, those inside wrappers too."""
    if hasattr(getattr(dataset, "pipeline", None), "transforms"):
        return [dataset.pipeline.transforms]
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    return [steps for one in inner if one is not None for steps in pipelines_of(one)]


class _SeedTransform(BaseTransform):
    """Seed the augmentation with the seed that the sample's index carries, if it has one."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        seed = getattr(results.get("sample_idx"), "seed", None)
        if seed is not None:
            _set_seeds(seed)
        return results


def _mixed_seed(*numbers: int) -> int:
    """Make one seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _set_seeds(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

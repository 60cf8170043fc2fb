"""Make what a run draws depend on its seed and the iteration alone."""

import random
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


def _set_seeds(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _SeedTransform(BaseTransform):
    """Seed the augmentation with the seed that the sample's index carries, if it has one."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        seed = getattr(results.get("sample_idx"), "seed", None)
        if seed is not None:
            _set_seeds(seed)
        return results


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
        """Put the seeding in front of the pipeline, before workers copy it.

        Args:
            runner: The runner.
        """
        dataset = runner.train_dataloader.dataset
        for inner in self._leaves(dataset):
            transforms = inner.pipeline.transforms
            if not any(isinstance(t, _SeedTransform) for t in transforms):
                transforms.insert(0, _SeedTransform())

    def _leaves(self, dataset: Any) -> list[Any]:
        """Return the data sets with a pipeline inside wrappers (repeat, concatenation)."""
        if hasattr(getattr(dataset, "pipeline", None), "transforms"):
            return [dataset]
        if hasattr(dataset, "datasets"):
            return [leaf for inner in dataset.datasets for leaf in self._leaves(inner)]
        return self._leaves(dataset.dataset) if hasattr(dataset, "dataset") else []

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed the iteration.

        Args:
            runner: The runner.
            batch_idx: Index of the batch.
            data_batch: The batch.
        """
        del batch_idx, data_batch
        self._seed(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed the validation: a resumed run may have to make up for it."""
        self._seed(runner, 1)

    def _seed(self, runner: Runner, *purpose: int) -> None:
        key = (runner.seed or 0, runner.iter, runner.rank, *purpose)
        _set_seeds(int(np.random.SeedSequence(key).generate_state(1)[0]))

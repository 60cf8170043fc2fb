import random
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.dataset import Compose

from afa.engine.hooks.reproducible_hook import ReproducibleHook, _SeedTransform
from afa.engine.samplers.seeded_infinite_sampler import SampleIndex


def _draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def _runner(iteration, rank=0, dataset=None):
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(seed=1, iter=iteration, rank=rank, train_dataloader=loader)


def _draw_at(*args):
    ReproducibleHook().before_train_iter(_runner(*args), 0)
    return _draw()


def test_iteration_decides_what_is_drawn():
    first = _draw_at(5)
    _draw()
    assert _draw_at(5) == first
    assert not set(_draw_at(6)) & set(first)
    assert not set(_draw_at(5, 1)) & set(first)  # another process


def test_a_validation_draws_its_own_numbers_the_same_ones_again():
    hook = ReproducibleHook()
    hook.before_val_epoch(_runner(5))
    first = _draw()
    hook.before_val_epoch(_runner(5))
    assert _draw() == first
    assert not set(first) & set(_draw_at(5))


def test_sample_seed_decides_the_augmentation():
    transform = _SeedTransform()
    transform(dict(sample_idx=SampleIndex(3, seed=7)))
    first = _draw()
    _draw()
    transform(dict(sample_idx=SampleIndex(0, seed=7)))
    assert _draw() == first


def test_sample_without_a_seed_leaves_the_random_state_alone():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    assert _SeedTransform()(dict(sample_idx=3)) == dict(sample_idx=3)
    assert np.random.rand() == expected


def test_seeding_goes_in_front_once_also_inside_wrappers():
    leaves = [SimpleNamespace(pipeline=Compose([lambda results: results])) for _ in range(2)]
    wrapped = SimpleNamespace(dataset=SimpleNamespace(datasets=leaves))
    hook = ReproducibleHook()
    hook.before_train(_runner(0, dataset=wrapped))
    hook.before_train(_runner(0, dataset=wrapped))
    for leaf in leaves:
        kinds = [isinstance(step, _SeedTransform) for step in leaf.pipeline.transforms]
        assert kinds == [True, False]

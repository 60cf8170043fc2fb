import pickle
import random
from itertools import islice
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.dataset import Compose, InfiniteSampler

from afa.engine.hooks.reproducible_hook import (
    ReproducibleHook,
    SampleIndex,
    SeededInfiniteSampler,
    _SeedTransform,
)


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


def _take(sampler, count=12):
    return [(int(index), index.seed) for index in islice(iter(sampler), count)]


def _sampler(rank=0, world_size=1):
    sampler = SeededInfiniteSampler(range(5), seed=4)
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def test_indices_are_those_of_mmengine():
    theirs = list(islice(iter(InfiniteSampler(range(5), seed=4)), 12))
    assert [index for index, _ in _take(_sampler())] == theirs


def test_every_place_has_its_own_seed():
    seeds = [seed for _, seed in _take(_sampler(), 100)]
    assert len(set(seeds)) == 100 and all(0 <= seed < 2**32 for seed in seeds)


def test_skip_goes_on_where_the_run_stopped():
    whole = _take(_sampler())
    resumed = _sampler()
    resumed.skip(7)
    assert _take(resumed, 5) == whole[7:]


def test_two_processes_share_the_places_of_one():
    whole = _take(_sampler())
    halves = [_take(_sampler(rank, 2), 6) for rank in range(2)]
    assert [pair for both in zip(*halves, strict=True) for pair in both] == whole


def test_seed_survives_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SampleIndex(3, seed=9)))
    assert (index, index.seed) == (3, 9) and [10, 11, 12, 13][index] == 13

import pickle
from itertools import islice

from mmengine.dataset import InfiniteSampler

from afa.engine.samplers import SeededInfiniteSampler
from afa.engine.samplers.seeded_infinite_sampler import SampleIndex


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

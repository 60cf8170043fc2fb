"""Samplers."""

from afa.engine.samplers.seeded_infinite_sampler import SeededInfiniteSampler

__all__ = ["SeededInfiniteSampler"]

"""Samplers."""

from .seeded_infinite_sampler import SeededInfiniteSampler

__all__ = ["SeededInfiniteSampler"]

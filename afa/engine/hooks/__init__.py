"""Hooks."""

from afa.engine.hooks.phase_hook import PhaseHook
from afa.engine.hooks.release_workers_hook import ReleaseWorkersHook
from afa.engine.hooks.reproducible_hook import ReproducibleHook

__all__ = ["PhaseHook", "ReleaseWorkersHook", "ReproducibleHook"]

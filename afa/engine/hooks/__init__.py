"""Hooks."""

from afa.engine.hooks.console_progress_hook import ConsoleProgressHook
from afa.engine.hooks.phase_hook import PhaseHook
from afa.engine.hooks.release_workers_hook import ReleaseWorkersHook
from afa.engine.hooks.reproducible_hook import ReproducibleHook
from afa.engine.hooks.wsss_visualization_hook import WSSSVisualizationHook

__all__ = [
    "ConsoleProgressHook",
    "PhaseHook",
    "ReleaseWorkersHook",
    "ReproducibleHook",
    "WSSSVisualizationHook",
]

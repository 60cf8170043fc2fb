"""Hooks."""

from afa.engine.hooks.checkpoint_hook import AFACheckpointHook
from afa.engine.hooks.console_progress_hook import ConsoleProgressHook
from afa.engine.hooks.non_finite_hook import NonFiniteHook
from afa.engine.hooks.pending_validation_hook import PendingValidationHook
from afa.engine.hooks.phase_hook import PhaseHook
from afa.engine.hooks.release_workers_hook import ReleaseWorkersHook
from afa.engine.hooks.reproducible_hook import ReproducibleHook
from afa.engine.hooks.wsss_visualization_hook import WSSSVisualizationHook

__all__ = [
    "AFACheckpointHook",
    "ConsoleProgressHook",
    "NonFiniteHook",
    "PendingValidationHook",
    "PhaseHook",
    "ReleaseWorkersHook",
    "ReproducibleHook",
    "WSSSVisualizationHook",
]

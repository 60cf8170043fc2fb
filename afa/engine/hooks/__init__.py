"""Hooks of a run, and what works together with one: log lines and the sampler."""

from afa.engine.hooks.checkpoint_hook import AFACheckpointHook
from afa.engine.hooks.console_progress_hook import AFALogProcessor, ConsoleProgressHook
from afa.engine.hooks.non_finite_hook import NonFiniteHook
from afa.engine.hooks.outcome_hook import OutcomeHook
from afa.engine.hooks.phase_hook import PhaseHook
from afa.engine.hooks.rehearsal_hook import RehearsalHook
from afa.engine.hooks.report_hook import ReportHook
from afa.engine.hooks.reproducible_hook import ReproducibleHook, SeededInfiniteSampler
from afa.engine.hooks.runner_hooks import PendingValidationHook, ReleaseWorkersHook, ZeroRateHook
from afa.engine.hooks.timer_hook import AFATimerHook
from afa.engine.hooks.wsss_visualization_hook import WSSSVisualizationHook

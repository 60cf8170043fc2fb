"""Hooks."""

from afa.engine.hooks.phase_hook import PhaseHook

__all__ = ["PhaseHook"]

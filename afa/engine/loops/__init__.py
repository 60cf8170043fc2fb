"""Loops."""

from afa.engine.loops.crf_test_loop import CRFTestLoop

__all__ = ["CRFTestLoop"]

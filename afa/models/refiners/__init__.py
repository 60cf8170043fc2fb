"""Refiners: modules that sharpen maps along an image."""

from afa.models.refiners.par import PAR

__all__ = ["PAR"]

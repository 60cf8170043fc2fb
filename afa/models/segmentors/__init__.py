"""Segmentors: the order in which the pieces of a method run."""

from afa.models.segmentors.afa import AFA

__all__ = ["AFA"]

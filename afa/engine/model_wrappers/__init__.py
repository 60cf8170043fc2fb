"""Model wrappers for several processes."""

from .ddp import AFADistributedDataParallel

__all__ = ["AFADistributedDataParallel"]

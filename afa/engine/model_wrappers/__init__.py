"""Model wrappers for several processes."""

from afa.engine.model_wrappers.ddp import AFADistributedDataParallel

__all__ = ["AFADistributedDataParallel"]

"""Mixed precision in bfloat16, on CPU and GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast; keep weights and updates in float32.

    mmengine's AmpOptimWrapper refuses to run without a GPU and carries a loss scaler, which
    bfloat16 does not need: it has the exponent range of float32. The state dict is the one of
    OptimWrapper, so that a run can be resumed with or without mixed precision.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast on the device of the model that is trained."""
        device_type = next(model.parameters()).device.type
        # Without the cache of cast weights: a pass without gradient (CAMs) inside the context
        # would leave weights there that a later pass with gradient cannot learn from.
        with (
            super().optim_context(model),
            torch.autocast(device_type, torch.bfloat16, cache_enabled=False),
        ):
            yield

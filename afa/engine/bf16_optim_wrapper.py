"""Mixed precision in bfloat16, on CPU and GPU."""

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast; keep weights and updates in float32.

    mmengine's AmpOptimWrapper refuses to run without a GPU and carries a loss scaler, which
    bfloat16 does not need: it has the exponent range of float32. The state dict is the one of
    OptimWrapper, so that a run can be resumed with or without mixed precision.

    A CPU without bfloat16 units imitates them, which takes much longer than float32: the log says
    so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = self.optimizer.param_groups[0]["params"][0]
        if first.device.type == "cpu" and not _has_bf16_units():
            print_log(
                "--amp (BF16OptimWrapper): this CPU has no bfloat16 units and imitates them, so "
                "that an iteration can take several times as long as in float32; leave --amp out.",
                logger="current",
                level=logging.WARNING,
            )

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


def _has_bf16_units() -> bool:
    """Whether the CPU computes in bfloat16; True where torch cannot tell."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: True)() for name in names)

"""Find where a training step makes the host wait for the GPU; also on a machine that has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

Batch = Callable[[str], tuple[Tensor, Sequence[Any]]]


def no_waits(model: Any, batch: Batch, phase: str | None, device: str = "cuda") -> None:
    """Run two steps of a model; the second may not make the host wait.

    With ``device='cpu'`` fake tensors stand for those of a GPU: they have sizes and no values, so
    that whatever reads a value fails. The step then ends before the backward pass, which torch
    does not run without a driver; Triton's kernels are left to the torch version.

    Args:
        model: a segmentor on the CPU; it is spent afterwards.
        batch: inputs and data samples, made on the device that it is given.
        phase: of the model; None for one without.
        device: ``'cuda'``, or ``'cpu'`` for the fake.

    Raises:
        AssertionError: naming the operation that waits.
        RuntimeError: of torch, on a GPU.
    """
    if phase is not None:
        model.set_phase(phase)
    if device != "cpu":
        _steps_on_gpu(model.to(device), batch(device))
        return
    with (
        mock.patch("afa.models.refiners.par_triton.has_triton", lambda: False),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        _become_fake(model)
        inputs, samples = batch("cuda")
        for watch in (nullcontext(), _NoCopies()):
            try:
                with watch:
                    model.parse_losses(model(inputs, samples, mode="loss"))
            except (DataDependentOutputException, DynamicOutputShapeException) as error:
                raise AssertionError(f"The host reads a value of the GPU: {error}") from error


def _steps_on_gpu(model: Any, batch: tuple[Tensor, Sequence[Any]]) -> None:
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-9, fused=True)
    for mode in ("default", "error"):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            loss, _ = model.parse_losses(model(*batch, mode="loss"))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _become_fake(model: nn.Module) -> None:
    """Put fake tensors of a GPU in the place of weights and buffers."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, dtype=weight.dtype, device="cuda")
                module._parameters[name] = nn.Parameter(fake, weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                fake = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")
                module._buffers[name] = fake


class _NoCopies(TorchDispatchMode):
    """Refuse copies between host and GPU: their memory is not pinned here, so the host waits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1]
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            assert source.device == out.device, (
                f"A copy from {source.device} to {out.device} of {tuple(out.shape)}: the host waits"
            )
        return out

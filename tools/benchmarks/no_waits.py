"""Find where a training step makes the host wait for the GPU; also on a machine that has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Batch = Callable[[str], tuple[Tensor, Sequence[Any]]]


def no_waits(model: Any, batch: Batch, phase: str | None, device: str = "cuda") -> None:
    """Run two steps of a model; the second may not make the host wait.

    With ``device='cpu'`` torch's device ``meta`` stands for the GPU: its tensors have sizes and no
    values, so that whatever reads a value fails. Triton's kernels are left to the torch version.

    Args:
        model: a segmentor on the CPU; it is spent afterwards.
        batch: inputs and data samples, made on the device that it is given.
        phase: of the model; None for one without.
        device: ``'cuda'``, or ``'cpu'``.

    Raises:
        AssertionError: on the CPU, naming what waits.
        RuntimeError: of torch, on a GPU.
    """
    if phase is not None:
        model.set_phase(phase)
    if device == "cpu":
        # Autocast knows no such device.
        with mock.patch.object(torch, "autocast", lambda *args, **kwargs: nullcontext()):
            _steps(model.to("meta"), batch("meta"), (_NoWaits(False), _NoWaits(True)))
    else:
        _steps(model.to(device), batch(device), (nullcontext(), _SyncDebug()))


def _steps(model: Any, batch: tuple[Tensor, Sequence[Any]], watches: Sequence[Any]) -> None:
    """Make a step under each watch."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-9, foreach=True)
    for watch in watches:
        with watch:
            loss, _ = model.parse_losses(model(*batch, mode="loss"))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class _SyncDebug:
    """Let torch raise where the host waits."""

    def __enter__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


class _NoWaits(TorchDispatchMode):
    """Refuse reading values, and copies between host and GPU: their memory is not pinned here."""

    def __init__(self, copies: bool) -> None:
        super().__init__()
        self.copies = copies  # whether they are refused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[-1]
        try:
            out = func(*args, **(kwargs or {}))
        except (NotImplementedError, RuntimeError) as error:
            raise AssertionError(f"The host reads a value of the GPU ({name}): {error}") from error
        if self.copies and name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            assert source.device == out.device, (
                f"A copy from {source.device} to {out.device} of {tuple(out.shape)}: the host waits"
            )
        return out

"""Rehearse a training before its first iteration, so that what would fail late fails at once."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from mmseg.registry import HOOKS
from torch import nn
from torch.distributed import DistError
from torch.nn.parallel import DistributedDataParallel

from afa.engine.dist import unwrapped
from afa.engine.hooks.phase_hook import PhaseHook
from afa.utils.cli import machine_sentence
from afa.utils.evaluating import evaluating, keep_random_state

_MOST = 2  # images of the batch: batch norm in training may need more than one


class RehearsalError(ValueError):
    """A part of a training that cannot run."""


@HOOKS.register_module()
class RehearsalHook(Hook):
    """Compute, before the first iteration, everything that a run will compute later.

    A small batch goes through the loss of every phase that is still to come, forward and backward,
    and a validation image through prediction and metrics. The batch is the first photo of the
    training set, drawn twice as the pipeline draws it (once where ``batch_size`` is 1): its size
    and labels are real, what fails in it would fail in training too.

    Afterwards weights, buffers, gradients, phase and random numbers are as before, and no sampler
    has moved: a run has the losses that it has without. In a run of several processes each
    rehearses for itself, on the network without its wrapper. torch.compile waits: it would compile
    for a batch of this size.

    Our runner adds this hook unless the config says ``rehearse=False``.
    """

    priority = "BELOW_NORMAL"  # after PhaseHook, which compares its phases with the model's

    def before_train(self, runner: Runner) -> None:
        """Rehearse.

        Raises:
            RehearsalError: If anything fails; the text says in which phase and part.
        """
        loop, model = runner.train_loop, unwrapped(runner.model)
        if loop.iter >= loop.max_iters:
            return
        begin, done = time.time(), []
        with keep_random_state(), _unchanged(model), _uncompiled(model):
            if _can_rehearse_loss(runner):
                batch = _first(loop.dataloader, min(_MOST, loop.dataloader.batch_size or _MOST))
                for phase in _phases_to_come(runner, model):
                    if phase is not None:
                        model.set_phase(phase)
                    part = "the loss" if phase is None else f"the loss of phase '{phase}'"
                    with _saying_which(part, model):
                        _compute_loss(runner, model, batch)
                    done.append(part)
            if runner.val_loop is not None:
                _validate(runner, model)
                done.append("a validation image")
        runner.logger.info(f"Rehearsed: {', '.join(done)}; {time.time() - begin:.1f} s.")


def _phases_to_come(runner: Runner, model: nn.Module) -> Sequence[str | None]:
    """Name the phases of the iterations that are left; None stands for a model without."""
    loop = runner.train_loop
    for hook in runner.hooks:
        if isinstance(hook, PhaseHook):
            later = [name for name, begin in hook.phases.items() if begin > loop.iter]
            first = hook.phase(loop.iter)
            return [first, *(name for name in later if hook.phases[name] < loop.max_iters)]
    return [getattr(model, "phase", None)]


def _can_rehearse_loss(runner: Runner) -> bool:
    """Whether a step is that of mmengine: one optimizer, and a loss that is computed in one go."""
    model, whole = unwrapped(runner.model), runner.model
    is_plain = isinstance(model, BaseModel) and type(model).train_step is BaseModel.train_step
    is_whole = not is_model_wrapper(whole) or isinstance(whole, DistributedDataParallel)
    return is_plain and is_whole and hasattr(runner.optim_wrapper, "optimizer")


def _first(loader: Any, number: int) -> Any:
    """Make a batch of the first sample of a data set, drawn some times."""
    return loader.collate_fn([loader.dataset[0] for _ in range(number)])


def _compute_loss(runner: Runner, model: Any, batch: Any) -> None:
    """Compute loss and gradients as a training step does; the gradients are dropped."""
    model.train()
    batch = copy.deepcopy(batch)  # preprocessors may write into it
    with runner.optim_wrapper.optim_context(runner.model):
        losses = model._run_forward(model.data_preprocessor(batch, True), mode="loss")
    loss, _ = model.parse_losses(losses)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Not backward(): it would leave gradients, and wake the hooks that gather them.
    torch.autograd.grad(loss, learning, allow_unused=True)


def _validate(runner: Runner, model: nn.Module) -> None:
    """Predict the first validation image, and hand it to the metrics."""
    loop = runner.val_loop
    batch = _first(loop.dataloader, 1)
    precision = autocast(enabled=getattr(loop, "fp16", False))
    with _saying_which("the prediction of a validation image", model), evaluating(model), precision:
        outputs = model.val_step(batch)
    with _saying_which("val_evaluator, with a validation image,", model):
        copy.deepcopy(loop.evaluator).process(outputs, batch)  # what it counts stays 0


def _uncompiled(model: nn.Module) -> Any:
    """Run what torch.compile has wrapped as it is."""
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Leave buffers, phase and the modes of all parts as they were."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        with evaluating(model), torch.enable_grad():
            yield
    finally:
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer.copy_(before)


@contextmanager
def _saying_which(part: str, model: nn.Module) -> Iterator[None]:
    """Turn any error into one sentence that names the part; what the machine lacks stays so."""
    try:
        yield
    except Exception as error:
        if machine_sentence(error) or isinstance(error, (OSError, DistError)):
            raise
        text = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(". ")
        reason = text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
        raise RehearsalError(
            f"Rehearsed before the first iteration, {part} fails{_place(error, model)}: {reason}. "
            "(Nothing has been trained; rehearse=False starts without a rehearsal.)"
        ) from error


def _place(error: Exception, model: nn.Module) -> str:
    """Say which part of the model an error comes from, if it comes from one."""
    parts = {module: name.split(".")[0] for name, module in model.named_modules()}
    place, trace = "", error.__traceback__
    while trace is not None:
        own = trace.tb_frame.f_locals.get("self")
        if isinstance(own, nn.Module) and parts.get(own):
            name = parts[own]
            place = f" in model.{name} ({type(getattr(model, name)).__name__})"
        trace = trace.tb_next
    return place

"""Stop, or leave out a step, when a loss or a gradient is no number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from afa.engine.checkpoints.fit import some_names
from afa.engine.dist import unwrapped
from afa.engine.step_dump import image_names, loss_numbers, write_step_dump
from afa.utils.evaluating import random_states
from afa.utils.home import run_text

_KEY = "num_skipped_steps"


class NonFiniteError(ValueError):
    """A loss, a gradient or a weight that is NaN or infinite."""

    exit_status = 1


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Watch losses and gradients; a step that would spoil the weights is not made.

    What led to it is written to ``<work dir>/non_finite/``: the weights before the step, the
    batch, the states of the random generators and the config. ``tools/analysis_tools/
    replay_step.py`` computes the step again. Our runner adds this hook to every training. The
    gradients of fp16 (``AmpOptimWrapper``) are left to its loss scaler.

    On a GPU this is the one place of an iteration where the host waits, before the update: the
    losses that are logged come along.

    Args:
        max_skips: Steps that may be left out in a run, resumed parts included; the next one stops
            it. 0 stops at the first.
        check_gradients: Also look at the gradients before each update.

    Raises:
        ValueError: If max_skips is negative.
    """

    # After the seeding of the iteration, before anything draws numbers.
    priority = "HIGH"

    def __init__(self, max_skips: int = 0, check_gradients: bool = True) -> None:
        if max_skips < 0:
            raise ValueError(f"NonFiniteHook needs max_skips >= 0, got {max_skips}.")
        self.max_skips = max_skips
        self.check_gradients = check_gradients
        self._batch: Any = None
        self._random: dict[str, Any] = {}
        self._losses: dict[str, Any] = {}
        self._log_vars: dict[str, Any] = {}
        self._total: torch.Tensor | None = None  # loss that is looked at together with gradients
        self._replaced: list[tuple[Any, str]] = []
        self._is_mine = False  # whether this process has what stops the step

    def before_train(self, runner: Runner) -> None:
        """Put the watch around what computes losses and updates."""
        model = unwrapped(runner.model)
        wrapper = runner.optim_wrapper
        if not hasattr(wrapper, "optimizer") or not hasattr(model, "parse_losses"):
            runner.logger.warning("NonFiniteHook: losses of this kind of run are not watched.")
            return
        parse, update, step = model.parse_losses, wrapper.update_params, wrapper.step
        # fp16 has gradients that overflow by design: its scaler leaves the step out.
        checks_steps = self.check_gradients and not hasattr(wrapper, "loss_scaler")
        # A bad loss must not get into gradients that are gathered over iterations.
        at_once = not checks_steps or getattr(wrapper, "_accumulative_counts", 1) > 1

        def parse_losses(losses: dict[str, Any]) -> Any:
            loss, log_vars = parse(losses)
            self._losses, self._log_vars = losses, log_vars
            return loss, log_vars

        def update_params(loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if at_once and not self._all_finite(loss.detach()):
                self._leave_out(runner, _bad_losses(self._losses))
                return
            self._total = loss.detach()
            update(loss, *args, **kwargs)

        def checked_step(**kwargs: Any) -> None:
            if self._all_finite(torch.stack([self._total, *_gradient_norms(wrapper)])):
                step(**kwargs)
                return
            is_loss = not torch.isfinite(self._total)
            self._leave_out(runner, _bad_losses(self._losses) if is_loss else _bad_gradients(model))

        self._replace(model, "parse_losses", parse_losses)
        self._replace(wrapper, "update_params", update_params)
        if checks_steps:
            self._replace(wrapper, "step", checked_step)

    def after_train(self, runner: Runner) -> None:
        """Take the watch away."""
        while self._replaced:
            owner, name = self._replaced.pop()
            delattr(owner, name)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep what a dump needs: the batch and the states of the random generators."""
        self._batch, self._random = data_batch, random_states()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to put spoilt weights in the place of good ones.

        Raises:
            NonFiniteError: If a weight is NaN or infinite.
        """
        for name, value in checkpoint["state_dict"].items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise NonFiniteError(
                    f"Iteration {runner.iter}: the weights {name} hold NaN or Inf and are not "
                    "saved; the checkpoints before are as they were. Lower the learning rate or "
                    "clip the gradients (optim_wrapper.clip_grad)."
                )

    def _replace(self, owner: Any, name: str, function: Callable) -> None:
        setattr(owner, name, function)
        self._replaced.append((owner, name))

    def _all_finite(self, values: torch.Tensor) -> bool:
        """Tell whether the values of all processes are finite: they act as one.

        The losses for the log come with the answer, so that nobody has to wait for them again.
        """
        mine = (~torch.isfinite(values)).any().float()
        bad = mine.clone()
        dist.all_reduce(bad, op="max")
        logged = {k: v for k, v in self._log_vars.items() if isinstance(v, torch.Tensor)}
        answers = [mine, bad, *(value.detach().float() for value in logged.values())]
        is_mine, is_bad, *numbers = torch.stack(answers).tolist()
        self._log_vars.update(zip(logged, numbers, strict=True))
        self._is_mine = bool(is_mine)
        return not is_bad

    def _leave_out(self, runner: Runner, what: str) -> None:
        """Write the dump and leave the step out, or stop.

        Raises:
            NonFiniteError: If no step may be left out any more.
        """
        mine = None
        if self._is_mine:
            name = f"iter_{runner.iter}_process_{runner.rank}.pth"
            path = Path(runner.work_dir) / "non_finite" / name
            losses = loss_numbers(self._losses)
            write_step_dump(path, runner, self._batch, self._random, losses)
            mine = f"{what}; images: {', '.join(image_names(self._batch)) or 'unnamed'}; {path}"
        said = filter(None, dist.all_gather_object(mine))
        skipped = runner.message_hub.runtime_info.get(_KEY, 0) + 1
        runner.message_hub.update_info(_KEY, skipped)
        sentence = (
            f"Iteration {runner.iter}: {' | '.join(said)}. The step was not made; "
            f"'{run_text('replay-step', 'FILE')}' computes it again."
        )
        runner.optim_wrapper.zero_grad()
        if skipped <= self.max_skips:
            runner.logger.warning(f"{sentence} It is step {skipped} of {self.max_skips} left out.")
            return
        raise NonFiniteError(
            f"{sentence} Lower the learning rate, clip the gradients (optim_wrapper.clip_grad="
            "dict(max_norm=1.0)), or leave such steps out (dict(type='NonFiniteHook', max_skips=N) "
            "in custom_hooks)."
        )


def _bad_losses(losses: Mapping[str, Any]) -> str:
    bad = [f"{k} is {v}" for k, v in loss_numbers(losses).items() if not np.isfinite(v)]
    return ", ".join(bad) or "the sum of the losses is infinite"


def _gradient_norms(wrapper: OptimWrapper) -> Sequence[torch.Tensor]:
    """Return one number for each gradient: a bad entry makes the norm bad, too."""
    groups = wrapper.optimizer.param_groups
    found = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    return torch._foreach_norm(found) if found else ()


def _bad_gradients(model: nn.Module) -> str:
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, grad in grads.items() if not torch.isfinite(grad).all()]
    return f"the gradients of {some_names(bad)} hold NaN or Inf"

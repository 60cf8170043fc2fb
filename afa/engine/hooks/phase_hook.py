"""Switches what a training step computes."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class PhaseHook(Hook):
    """Set the model's phase from the iteration count.

    The phase follows from the iteration alone, so that a resumed run is in the right one.

    Args:
        cls_iters: iterations that train the classifier only.
        pseudo_iters: iteration until which the segmentation learns from the pseudo label; from
            then on it learns from the propagated label.

    Raises:
        ValueError: if the order is not 0 <= cls_iters <= pseudo_iters.
    """

    def __init__(self, cls_iters: int, pseudo_iters: int) -> None:
        if not 0 <= cls_iters <= pseudo_iters:
            raise ValueError(
                "PhaseHook needs 0 <= cls_iters <= pseudo_iters (iterations counted from the "
                f"start), got cls_iters={cls_iters} and pseudo_iters={pseudo_iters}"
            )
        self.cls_iters = cls_iters
        self.pseudo_iters = pseudo_iters

    def phase(self, iteration: int) -> str:
        """Name the phase of an iteration, counted from 0."""
        if iteration < self.cls_iters:
            return "cls"
        return "pseudo" if iteration < self.pseudo_iters else "propagated"

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Set the phase and say so in the log when it changes."""
        del batch_idx, data_batch
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        phase = self.phase(runner.iter)
        if phase != model.phase or runner.iter == 0:
            runner.logger.info(f"iteration {runner.iter}: phase {phase!r}")
            model.set_phase(phase)

"""Hooks that our runner adds to every run: what is said or done at its start and its end."""

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from afa.engine.schedules import zero_rate_from

# Not "val...": mmengine shows such names in its log of a validation.
_KEY = "iter_validated"


@HOOKS.register_module()
class PendingValidationHook(Hook):
    """Validate at the start of a resumed run, if its checkpoint waits for it.

    A checkpoint is saved before the validation of its iteration. mmengine goes on with the next
    iteration when it resumes from one: the figures of this validation would be missing, and the
    best checkpoint perhaps with them.
    """

    # After the hooks that read what the checkpoint holds.
    priority = "LOWEST"

    def before_val_epoch(self, runner: Runner) -> None:
        """Note the iteration that is validated, for the checkpoint saved after it."""
        runner.message_hub.update_info(_KEY, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        """Validate, if the iteration that was resumed from should have been."""
        loop = runner.train_loop
        if runner.val_loop is None or not isinstance(loop, IterBasedTrainLoop) or loop.iter < 1:
            return
        loop._decide_current_val_interval()  # it may depend on the iteration
        due = loop.iter % loop.val_interval == 0 or loop.iter == loop.max_iters
        validated = runner.message_hub.runtime_info.get(_KEY) == loop.iter
        if due and loop.iter >= loop.val_begin and not validated:
            runner.logger.info(f"The validation of iteration {loop.iter} is made up for.")
            runner.val_loop.run()


@HOOKS.register_module()
class ReleaseWorkersHook(Hook):
    """Drop the iterator over the training data when training ends.

    Otherwise it lives until the garbage collector finds it, and its workers are then waited for
    in vain: five seconds each, in whatever the process does next (a test, another run).
    """

    priority = "LOWEST"

    def after_train(self, runner: Runner) -> None:
        """Drop the iterator."""
        loop_iterator = getattr(runner.train_loop, "dataloader_iterator", None)
        for holder in (runner.train_dataloader, loop_iterator):
            if hasattr(holder, "_iterator"):
                setattr(holder, "_iterator", None)  # noqa: B010  the types of the two differ


@HOOKS.register_module()
class ZeroRateHook(Hook):
    """Say before the first iteration that the last ones will learn nothing, if it is so."""

    priority = "VERY_LOW"

    def before_train(self, runner: Runner) -> None:
        """Look ahead along the schedules."""
        first, last = zero_rate_from(runner), runner.train_loop.max_iters
        if first is not None:
            runner.logger.warning(
                f"The learning rate is 0 in {last - first} of the iterations that are left (from "
                f"{first + 1} to {last}): no weight changes there. Move `end` of param_scheduler "
                f"to {last + 1}, or end the run there (train_cfg.max_iters={first})."
            )

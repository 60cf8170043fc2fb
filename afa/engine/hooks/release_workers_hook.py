"""End the data workers of a run together with the run."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ReleaseWorkersHook(Hook):
    """Drop the iterator over the training data when training ends.

    Otherwise it lives until the garbage collector finds it, and its workers are then waited for
    in vain: five seconds each, in whatever the process does next (a test, another run).
    """

    priority = "LOWEST"

    def after_train(self, runner: Runner) -> None:
        """Drop the iterator.

        Args:
            runner: The runner.
        """
        loop_iterator = getattr(runner.train_loop, "dataloader_iterator", None)
        for holder in (runner.train_dataloader, loop_iterator):
            if hasattr(holder, "_iterator"):
                setattr(holder, "_iterator", None)  # noqa: B010  the types of the two differ

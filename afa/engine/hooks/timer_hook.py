"""The time left of a training whose phases and validations take their own time."""

import time
from typing import Any

from mmengine.hooks import IterTimerHook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from afa.engine.dist import unwrapped
from afa.engine.hooks.phase_hook import PhaseHook


@HOOKS.register_module()
class AFATimerHook(IterTimerHook):
    """mmengine's IterTimerHook whose time left (``eta``) knows phases and validations.

    mmengine takes all iterations for equally long, and so says a fourth of what is left while AFA
    classifies only. Here an iteration of a phase takes as long as those that have been measured; of
    a phase that has not begun, as much longer as the model says (``phases``). The first iteration,
    in which everything starts, does not count. Validations count as soon as one has been measured.
    """

    def before_train(self, runner: Runner) -> None:
        """Find when the phases begin, and forget what was measured."""
        super().before_train(runner)
        self._costs = getattr(unwrapped(runner.model), "phases", {})
        hooks = [hook for hook in runner.hooks if isinstance(hook, PhaseHook)]
        self._begins = hooks[0].phases if hooks else {"": 0}
        self._means: dict[str, tuple[int, float]] = {}  # of a phase: iterations, seconds of one
        self._validations, self._validation, self._val_begin = 0, 0.0, 0.0

    def _before_epoch(self, runner: Runner, mode: str = "train") -> None:
        super()._before_epoch(runner, mode)
        self._val_begin = self.t

    def _after_epoch(self, runner: Runner, mode: str = "train") -> None:
        super()._after_epoch(runner, mode)
        if mode == "val" and hasattr(self, "_means"):  # within a training
            spent = self._validation * self._validations + time.time() - self._val_begin
            self._validations += 1
            self._validation = spent / self._validations

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = "train",
    ) -> None:
        super()._after_iter(runner, batch_idx, data_batch, outputs, mode)
        if mode != "train":
            return
        if runner.iter == self.start_iter + 1:
            self._means.clear()
        phase = [name for name, begin in self._begins.items() if begin <= runner.iter][-1]
        seconds = runner.message_hub.get_scalar("train/time").current()
        count, mean = self._means.pop(phase, (0, 0.0))
        self._means[phase] = (count + 1, mean + (seconds - mean) / (count + 1))  # the latest, last
        left = self._left(runner.iter + 1, runner.max_iters)
        left += self._validation * _validations_left(runner)
        runner.message_hub.update_info("eta", left)

    def _left(self, done: int, max_iters: int) -> float:
        """Seconds that the iterations from ``done`` on will take."""
        ends = [*list(self._begins.values())[1:], max_iters]
        latest = next(reversed(self._means))
        known = self._means[latest][1] / self._costs.get(latest, 1.0)
        total = 0.0
        for (phase, begin), end in zip(self._begins.items(), ends, strict=True):
            _, each = self._means.get(phase, (0, known * self._costs.get(phase, 1.0)))
            total += each * max(0, min(end, max_iters) - max(begin, done))
        return total


def _validations_left(runner: Runner) -> int:
    """Count the validations after this iteration, the one that follows it at once included."""
    loop = runner.train_loop
    if runner.val_loop is None or not isinstance(loop, IterBasedTrainLoop):
        return 0
    every, total = loop.val_interval, runner.max_iters
    before = max(runner.iter, loop.val_begin - 1) // every
    return max(0, -(-total // every) - before) if total >= loop.val_begin else 0

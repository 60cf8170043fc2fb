"""A calm console: one line per so many iterations, with the time left; and memory in the log."""

import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import LogProcessor, Runner
from mmseg.registry import HOOKS, LOG_PROCESSORS

from afa.engine.dist import unwrapped
from afa.engine.hooks.phase_hook import PhaseHook
from afa.utils.progress import time_text

# Key of a metric -> what people call it.
FIGURES = {
    "cls/F1": "classification F1",
    "cam/mIoU": "CAM mIoU",
    "par/mIoU": "PAR mIoU",
    "propagated/mIoU": "propagated mIoU",
    "seg/mIoU": "segmentation mIoU",
}


def _say(text: str) -> None:
    print(text, flush=True)


@HOOKS.register_module()
class ConsoleProgressHook(Hook):
    """Print progress, time left, validation figures, and keep the peak memory.

    mmengine's time left takes all iterations for equally long; here a phase counts as much as the
    model says (``phases``), so that the first figure is not far too small.

    Args:
        interval: iterations (or batches, in validation and testing) between two lines.
        say: prints a line.

    Raises:
        ValueError: if the interval is not positive.
    """

    def __init__(self, interval: int = 25, say: Callable[[str], None] = _say) -> None:
        if interval < 1:
            raise ValueError(f"ConsoleProgressHook needs interval >= 1, got {interval}")
        self.interval = interval
        self.say = say
        self.peak_memory_mib = 0
        self._work: list[float] = []
        self._begin = self._paused = self._eval_begin = 0.0
        self._start_iter = 0

    def before_train(self, runner: Runner) -> None:
        """Weigh the iterations and start the clock."""
        costs = getattr(unwrapped(runner.model), "phases", {})
        self._work = [1.0] * runner.max_iters
        for hook in runner.hooks:
            if isinstance(hook, PhaseHook):
                self._work = [costs.get(hook.phase(i), 1.0) for i in range(runner.max_iters)]
        self._begin, self._paused, self._start_iter = time.perf_counter(), 0.0, runner.iter

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = "train",
    ) -> None:
        """Keep the peak memory, and print a line if it is time."""
        # Here, since mmengine's log sets the peak of the GPU back to 0 at every line.
        on_gpu = torch.cuda.is_available()
        now = torch.cuda.max_memory_allocated() // 2**20 if on_gpu else peak_memory_mb()
        self.peak_memory_mib = max(self.peak_memory_mib, int(now))
        if mode == "train":
            done, total = runner.iter + 1, runner.max_iters
        else:
            done, total = batch_idx + 1, len(getattr(runner, f"{mode}_dataloader"))
        if done % self.interval and done != total:
            return
        if mode == "train":
            self._say_training(runner, done, outputs)
        else:
            left = (time.perf_counter() - self._eval_begin) / done * (total - done)
            self.say(f"{mode} {done}/{total}, {time_text(left)} left")

    def _say_training(self, runner: Runner, done: int, outputs: dict | None) -> None:
        spent = time.perf_counter() - self._begin - self._paused
        left = spent / sum(self._work[self._start_iter : done]) * sum(self._work[done:])
        phase = getattr(unwrapped(runner.model), "phase", None)
        parts = [f"train {done}/{runner.max_iters}", f"phase {phase}" if phase else ""]
        if outputs and "loss" in outputs:
            history = runner.message_hub.log_scalars.get("train/loss")
            loss = history.mean(self.interval) if history else float(outputs["loss"])
            parts.append(f"loss {float(loss):.3f},")
        self.say(" ".join(filter(None, parts)) + f" {time_text(left)} left")

    def before_val(self, runner: Runner) -> None:
        """Start the clock of the validation; its time does not count as training."""
        self._eval_begin = time.perf_counter()

    before_test = before_val

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Print the figures."""
        self._paused += time.perf_counter() - self._eval_begin
        given = metrics or {}
        found = [f"{text} {given[key]:.1f}" for key, text in FIGURES.items() if key in given]
        if found:
            self.say(f"val at iteration {runner.iter}: " + ", ".join(found))


def peak_memory_mb() -> int:
    """Return the peak memory (resident set) of this process, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (2**20 if sys.platform == "darwin" else 2**10))


@LOG_PROCESSORS.register_module()
class AFALogProcessor(LogProcessor):
    """mmengine's log lines, with `memory` on CPU too.

    On a GPU `memory` is the peak memory of the tensors there, as in mmengine; without one it is
    the peak memory of the process (the data workers not counted). Both in MB.
    """

    def get_log_after_iter(
        self, runner: Any, batch_idx: int, mode: str
    ) -> tuple[dict[str, Any], str]:
        """Give the values of an iteration by name, and its log line."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if "memory" not in tag:
            tag["memory"] = peak_memory_mb()
            memory = f"memory: {tag['memory']}  "
            # Where mmengine puts it: between the times and the losses.
            line, found = re.subn(r"(data_time: \S+  )", rf"\g<1>{memory}", line, count=1)
            line = line if found else f"{line}  {memory.rstrip()}"
        return tag, line

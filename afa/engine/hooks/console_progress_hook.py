"""A calm console: one line per so many iterations, with the time left; and memory in the log."""

import re
import resource
import sys
from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import LogProcessor, Runner
from mmseg.registry import HOOKS, LOG_PROCESSORS

from afa.engine.dist import unwrapped
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

    The time left is that of the hook ``timer``, see :class:`AFATimerHook`.

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
        left = f"{time_text(runner.message_hub.runtime_info.get('eta', 0.0))} left"
        if mode == "train":
            self._say_training(runner, done, outputs, left)
        else:
            self.say(f"{mode} {done}/{total}, {left}")

    def _say_training(self, runner: Runner, done: int, outputs: dict | None, left: str) -> None:
        phase = getattr(unwrapped(runner.model), "phase", None)
        parts = [f"train {done}/{runner.max_iters}", f"phase {phase}" if phase else ""]
        if outputs and "loss" in outputs:
            history = runner.message_hub.log_scalars.get("train/loss")
            loss = history.mean(self.interval) if history else float(outputs["loss"])
            parts.append(f"loss {float(loss):.3f},")
        self.say(" ".join(filter(None, [*parts, left])))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Print the figures."""
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

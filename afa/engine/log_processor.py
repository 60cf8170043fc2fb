"""Log lines that show memory on every device."""

import re
import resource
import sys
from typing import Any

from mmengine.runner import LogProcessor
from mmseg.registry import LOG_PROCESSORS


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
        """Format the log line of an iteration.

        Args:
            runner: The runner.
            batch_idx: Index of the batch in its loop.
            mode: 'train', 'val' or 'test'.

        Returns:
            The values by name, and the line.
        """
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if "memory" not in tag:
            tag["memory"] = peak_memory_mb()
            memory = f"memory: {tag['memory']}  "
            # Where mmengine puts it: between the times and the losses.
            line, found = re.subn(r"(data_time: \S+  )", rf"\g<1>{memory}", line, count=1)
            line = line if found else f"{line}  {memory.rstrip()}"
        return tag, line

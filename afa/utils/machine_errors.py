"""Errors of the machine in one sentence each: what was full, taken or too small, and what to do.

They are recognised by name and text, because importing torch for its types takes seconds.
"""

from __future__ import annotations

import errno
import re

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "your share of the disk is used up: free some space, then run the same command "
    "again",
    errno.EACCES: "you have no right to read or write it: mend its permissions, or take another "
    "place",
    errno.EROFS: "the disk cannot be written to: take another folder",
    errno.EMFILE: "the process has too many files open: lower num_workers, or raise `ulimit -n`",
    errno.EISDIR: "a file is wanted, and this is a folder: give another path",
    errno.ENOTDIR: "a folder is wanted, and a part of this path is a file: give another path",
    errno.EEXIST: "a file of this name is there already: give another path",
}
_ADVICE[errno.EPERM] = _ADVICE[errno.EACCES]

_GPU_MEMORY = (
    "The memory of the GPU does not suffice{first}: lower train_dataloader.batch_size or the crop, "
    "add --amp, or, where photos are read whole, lower the scale of the test pipeline or take "
    "--device cpu."
)
_MEMORY = (
    "The memory of this machine does not suffice{first}: lower batch_size and num_workers of the "
    "data loaders, or the size of the photos."
)
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", re.DOTALL)
# What torch says when a checkpoint cannot be written: it checks places in the file, not errno.
_UNWRITTEN = re.compile(
    r"PytorchStreamWriter failed|file write failed|unexpected pos \d+ vs \d+|iostream error"
)
_FROM_WORKER = re.compile(r"Caught (\w+) in (?:DataLoader worker process|replica|pin memory)")


def machine_sentence(error: BaseException) -> str | None:
    """Say what the machine lacks.

    Args:
        error: Any error.

    Returns:
        One sentence, or None if the error is of another kind.
    """
    if isinstance(error, OSError):
        return _os_sentence(error)
    names = {cls.__name__ for cls in type(error).__mro__}
    text = own_text(error)
    first = f" ({text.splitlines()[0].rstrip('.')})" if text else ""
    if "OutOfMemoryError" in names:
        return _GPU_MEMORY.format(first=first)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return _MEMORY.format(first=first)
    if not isinstance(error, RuntimeError):
        return None
    if match := _DEAD_WORKER.search(text):
        shared = "shared memory" in match[2]
        return (
            f"A process that loads data (process {match[1]}) has died"
            + (", because shared memory is full" if shared else ", mostly for lack of memory")
            + ": lower num_workers or batch_size of the data loader"
            + (", or give the container more /dev/shm." if shared else ".")
        )
    if _UNWRITTEN.search(text):
        return f"A checkpoint could not be written: {_ADVICE[errno.ENOSPC]}."
    return None


def _os_sentence(error: OSError) -> str | None:
    advice = _ADVICE.get(error.errno or 0)
    if advice is None:
        return None
    # Twin calls such as os.replace name two files; the first one is what was being written.
    place = f"'{error.filename}'" if error.filename else "A file"
    return f"{place} cannot be used ({error.strerror}): {advice}."


def own_text(error: BaseException) -> str:
    """Give the text of an error as it was raised, without what a data worker puts around it.

    Args:
        error: Any error; one of a data worker brings its whole traceback as its text.

    Returns:
        The text that the worker's error had.
    """
    text = str(error)
    if not _FROM_WORKER.match(text):
        return text
    # The traceback ends with `Type: text`, where the text may have several lines.
    name = type(error).__name__
    found = list(re.finditer(rf"^(?:[\w.]+\.)?{name}: ", text, re.MULTILINE))
    return text[found[-1].end() :].strip() if found else text

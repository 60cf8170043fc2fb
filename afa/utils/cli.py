"""What the command-line tools share: arguments, config options, launchers, errors in one sentence.

Errors of the machine (what was full, taken or too small) are recognised by name and text, because
importing torch for its types takes seconds.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

EXIT_INPUT = 2
TRACKERS = ("tensorboard", "wandb", "mlflow", "clearml", "none")
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


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share to the parser of a tool."""
    parser.add_argument("config", help="config file (.py)")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="override config values, e.g. train_cfg.max_iters=100 model.test_cfg.mode=whole",
    )
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm", "mpi"),
        default="none",
        help="how several processes are started (default: none)",
    )
    # torchrun passes it in either spelling; the environment variable has precedence.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_tracker_argument(parser: argparse.ArgumentParser) -> None:
    """Add the choice of trackers to the parser of a tool that trains."""
    parser.add_argument(
        "--tracker",
        nargs="+",
        choices=TRACKERS,
        help="where scalars and pictures go as well, one or several (default: as the config says, "
        "which is tensorboard in ours); docs/training.md tells more",
    )


def parse_options(options: Sequence[str] | None, argument: str = "--cfg-options") -> dict[str, Any]:
    """Parse `key=value` texts (`a.b=1`, `a.c=[1,2]`, `a.d='text'`) as mmengine's DictAction does.

    Different from mmengine: spaces inside a text stay (`data_root=My photos`), and a file or folder
    that is there is a text, commas and brackets included. Messages name ``argument``, where the
    texts come from.

    Returns:
        Dotted key to value.

    Raises:
        ValueError: If a text has no `=`, nothing before it, or brackets without partner.
    """
    from mmengine.config import DictAction  # not at import time: --help must be instant

    options = list(options or [])
    for option in options:
        if not option.partition("=")[0] or "=" not in option:
            raise ValueError(f"{argument} wants KEY=VALUE, got '{option}'.")
    values = {}
    for option in options:
        key, _, text = option.partition("=")
        try:
            values[key] = _released(DictAction._parse_iterable(_kept(text.strip())))
        except AssertionError as error:
            raise ValueError(f"{argument} {option}: brackets must come in pairs.") from error
    return values


# What mmengine drops (spaces) or reads as a list, and the letters that stand for it meanwhile.
_SPECIAL = " ,()[]"
_HIDE = {ord(char): 0xE000 + ord(char) for char in _SPECIAL}
_SHOW = {hidden: char for char, hidden in _HIDE.items()}


def _kept(text: str) -> str:
    """Hide what belongs to a text: all of one, the spaces inside those of a list."""
    bare = text.strip("'\"")
    is_list = bare.startswith(("(", "[")) or "," in bare
    if not is_list or (not bare.startswith(("(", "[")) and os.path.exists(bare)):
        return bare.translate(_HIDE)
    return re.sub(r"(?<=[^\s,()\[\]]) +(?=[^\s,()\[\]])", lambda m: m[0].translate(_HIDE), text)


def _released(value: Any) -> Any:
    """Show in a value what was hidden."""
    if isinstance(value, (list, tuple)):
        return type(value)(_released(one) for one in value)
    return value.translate(_SHOW) if isinstance(value, str) else value


def own_command_line() -> str:
    """Give the command line of this process, for a record of how something was made."""
    if sys.argv[0].startswith("afa "):  # by afa/__main__.py
        return shlex.join([*sys.argv[0].split(), *sys.argv[1:]])
    return shlex.join(["python", *sys.argv])


def set_local_rank(local_rank: int) -> None:
    """Set the environment variable LOCAL_RANK, unless the launcher has done so."""
    os.environ.setdefault("LOCAL_RANK", str(local_rank))


def _sentence(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])  # str(KeyError) would show the text in quotes
    elif isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: '{error.filename}'."
    else:
        text = own_text(error)
    return text.strip() or type(error).__name__


def _is_input_error(error: BaseException) -> bool:
    """Tell what a user can mend (a wrong value, a missing file) from what is our bug."""
    unregistered = isinstance(error, KeyError) and "registry" in str(error)
    return isinstance(error, (ValueError, OSError)) or unregistered or hasattr(error, "exit_status")


def _leave_processes() -> None:
    """End the talk with other processes: threads of gloo that still listen may abort the exit."""
    torch_dist = sys.modules.get("torch.distributed")  # nobody else has begun it
    if torch_dist is not None and torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def main_guard(main: Callable[[], Any]) -> None:
    """Run a tool; end with a sentence and no traceback when the input is wrong.

    So it does where the machine lacks something: disk, memory, rights. Exit status: 0, or 1 if a
    checkpoint does not fit, or 2 for any other wrong input and what the machine lacks. With
    AFA_DEBUG=1 in the environment every error shows its traceback.
    """
    try:
        main()
        sys.stdout.flush()
        _leave_processes()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # who reads what is printed, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as the signal SIGPIPE ends a program
    except Exception as error:
        lacking = machine_sentence(error)
        if os.environ.get("AFA_DEBUG") == "1" or not (lacking or _is_input_error(error)):
            raise
        print(f"Error: {lacking or _sentence(error)}", file=sys.stderr)
        print("(AFA_DEBUG=1 shows where it was raised.)", file=sys.stderr)
        sys.exit(getattr(error, "exit_status", EXIT_INPUT))


def machine_sentence(error: BaseException) -> str | None:
    """Say in one sentence what the machine lacks; None if an error is of another kind."""
    if isinstance(error, OSError):
        advice = _ADVICE.get(error.errno or 0)
        # Twin calls such as os.replace name two files; the first is what was being written.
        place = f"'{error.filename}'" if error.filename else "A file"
        return advice and f"{place} cannot be used ({error.strerror}): {advice}."
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
        cause, more = "mostly for lack of memory", ""
        if "shared memory" in match[2]:
            cause, more = "because shared memory is full", ", or give the container more /dev/shm"
        return (
            f"A process that loads data (process {match[1]}) has died, {cause}: lower num_workers "
            f"or batch_size of the data loader{more}."
        )
    if _UNWRITTEN.search(text):
        return f"A checkpoint could not be written: {_ADVICE[errno.ENOSPC]}."
    return None


def own_text(error: BaseException) -> str:
    """Give the text of an error as it was raised.

    An error of a data worker brings its whole traceback as its text.
    """
    text = str(error)
    if not _FROM_WORKER.match(text):
        return text
    # The traceback ends with `Type: text`, where the text may have several lines.
    name = type(error).__name__
    found = list(re.finditer(rf"^(?:[\w.]+\.)?{name}: ", text, re.MULTILINE))
    return text[found[-1].end() :].strip() if found else text

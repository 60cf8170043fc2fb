"""What the command-line tools share: one-sentence errors, config options, progress, launchers."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from afa.utils.machine_errors import machine_sentence, own_text

EXIT_INPUT = 2


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share.

    Args:
        parser: The parser of the tool, changed in place.
    """
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


def parse_options(options: Sequence[str] | None, argument: str = "--cfg-options") -> dict[str, Any]:
    """Parse `key=value` texts as mmengine's DictAction does.

    Args:
        options: Texts such as `a.b=1`, `a.c=[1,2]`, `a.d='text'`, or None.
        argument: The argument of the command line that they come from, for messages.

    Returns:
        Dotted key to value.

    Raises:
        ValueError: If a text has no `=`, or nothing before it.
    """
    from mmengine.config import DictAction  # not at import time: --help must be instant

    options = list(options or [])
    for option in options:
        if not option.partition("=")[0] or "=" not in option:
            raise ValueError(f"{argument} wants KEY=VALUE, got '{option}'.")
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="*", action=DictAction, default={})
    return parser.parse_args(["--options", *options]).options or {}


def show_progress(done: int, total: int, unit: str) -> None:
    """Print a line that overwrites itself on a terminal, every tenth part elsewhere.

    Args:
        done: How many are done.
        total: How many there are.
        unit: What they are, in the plural.
    """
    if sys.stdout.isatty():
        print(f"\r{done}/{total} {unit}", end="" if done < total else "\n", flush=True)
    elif 10 * done // total > 10 * (done - 1) // total:
        print(f"{done}/{total} {unit}", flush=True)


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
    if isinstance(error, (ValueError, OSError)):
        return True
    if isinstance(error, KeyError):
        return "registry" in str(error)
    return hasattr(error, "exit_status")


def main_guard(main: Callable[[], Any]) -> None:
    """Run a tool; end with a sentence and no traceback when the input is wrong.

    So it does where the machine lacks something: disk, memory, rights. Exit status: 0, or 1 if a
    checkpoint does not fit, or 2 for any other wrong input and what the machine lacks. With
    AFA_DEBUG=1 in the environment every error shows its traceback.

    Args:
        main: The tool.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        lacking = machine_sentence(error)
        if os.environ.get("AFA_DEBUG") == "1" or not (lacking or _is_input_error(error)):
            raise
        print(f"Error: {lacking or _sentence(error)}", file=sys.stderr)
        print("(AFA_DEBUG=1 shows where it was raised.)", file=sys.stderr)
        sys.exit(getattr(error, "exit_status", EXIT_INPUT))

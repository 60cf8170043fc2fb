"""What of a run's log goes to the screen: the user's own affairs, not those of the libraries.

The log file has everything.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.logging.logger
from mmengine.logging import MMLogger

import afa

_OWN = Path(afa.__file__).resolve().parent
_PASSING = (__file__, logging.__file__, mmengine.logging.logger.__file__)
# Of mmengine, what it says about checkpoints that the user has named.
_WANTED = {"load_checkpoint", "resume", "load_state_dict"}


class ConsoleFilter(logging.Filter):
    """Keep from the screen what libraries say before the first iteration, and their warnings.

    Among it are hundreds of lines: the environment, the config, parameter groups, how layers were
    drawn. Errors pass, and what is said of checkpoints.

    Attributes:
        started: the first iteration is there; from then on only warnings of libraries are kept.
    """

    started = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown."""
        if getattr(record, "only_in_file", False):
            return False
        if record.levelno >= logging.ERROR or (self.started and record.levelno < logging.WARNING):
            return True
        filename, function = _origin()
        return function in _WANTED or not _is_library(filename)


def _origin() -> tuple[str, str]:
    """Find file and function that log: mmengine's `print_log` stands before many of them."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename in _PASSING:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_code.co_name


def _is_library(filename: str) -> bool:
    path = Path(filename).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(installed) and not path.is_relative_to(_OWN)


def filter_console(logger: MMLogger) -> ConsoleFilter:
    """Put a :class:`ConsoleFilter` before the screen of a logger."""
    found = ConsoleFilter()
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(found)
    return found


@contextmanager
def warnings_in_log(logger: MMLogger) -> Iterator[None]:
    """Log Python's warnings that libraries give, such as those of torch's schedulers.

    Those of afa, and of modules that are no installed package, are shown as ever.
    """
    shown = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):  # type: ignore
        if file is None and _is_library(filename):
            text = f"{filename}:{lineno}: {category.__name__}: {message}"
            logger.warning(text, extra=dict(only_in_file=True))
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown

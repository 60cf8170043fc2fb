"""Run a config file; what fails in it is one sentence with file and line.

A Python config is a program, and its author's slips (a name that is not there, a forgotten comma)
are errors of that program, not of this package.
"""

import os.path as osp
from pathlib import Path

from mmengine.config import Config


def read_config_file(path: str | Path) -> Config:
    """Run a Python config file and the files that it inherits from.

    Args:
        path: The config file.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file, or fails; the text says where.
    """
    path = str(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f"There is no config file '{path}'.")
    if not path.endswith(".py"):
        raise ValueError(f"A config must be a Python file (.py), got '{path}'.")
    try:
        return Config.fromfile(path)
    except Exception as error:  # whatever a program may raise
        raise ValueError(f"The config '{path}' cannot be used: {_reason(error, path)}") from error


def _reason(error: Exception, path: str) -> str:
    """Say which line of which file failed, and how."""
    file, line = _place(error)
    where = f"in '{file}'" if file and osp.abspath(file) != osp.abspath(path) else ""
    if isinstance(error, SyntaxError):
        where, line = where or "it is no valid Python", error.lineno
    elif line is None and isinstance(error, (ValueError, OSError)):
        return f"{_first_line(error)}."  # speaks for itself
    place = f"{where}, line {line}" if where and line else where or f"line {line}" * bool(line)
    kind = "" if isinstance(error, SyntaxError) else f"{type(error).__name__}: "
    text = error.msg if isinstance(error, SyntaxError) else _first_line(error)
    return f"{place}: {kind}{text}; mend it." if place else f"{kind}{text}; mend it."


def _first_line(error: Exception) -> str:
    if isinstance(error, ImportError) and isinstance(error.__cause__, ImportError):
        error = error.__cause__  # of custom_imports: mmengine lists the whole path beside it
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")


def _place(error: Exception) -> tuple[str | None, int | None]:
    """Find the config file that was being read, and its line that was running, if any."""
    file, line, trace = None, None, error.__traceback__
    while trace is not None:
        code, local = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if code.co_name == "_file2dict" and isinstance(local.get("filename"), str):
            file, line = local["filename"], None
        elif code.co_filename == file and code.co_name == "<module>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return file, line

"""Write files whole or not at all, and only where they belong."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file beside its place and move it there: a stop leaves no half file.

    Raises:
        OSError: If the file cannot be written; its folder must be there.
    """
    path = Path(path)
    # Each process its own name: two that write the same file do not write into one another's.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, content: Any) -> None:
    """Write mappings, lists, texts and numbers as JSON, as :func:`write_bytes` does.

    Numbers and arrays of numpy and torch become plain ones; numbers that are not finite, which JSON
    does not have, become null; keys become texts.

    Raises:
        TypeError: If the content holds something else.
        OSError: If the file cannot be written.
    """
    write_text(path, json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Return what a JSON file (UTF-8) holds, which may come from anywhere.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is malformed, or nested so deeply that Python gives up.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; empty where the file is missing, broken, or holds something else."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a file with one JSON object a line, such as the scalars of a training.

    A process that is killed leaves its last line half written: that one is left out.

    Raises:
        ValueError: if another line is broken.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            scalars = json.loads(line)
        except (ValueError, RecursionError):
            scalars = None
        if isinstance(scalars, dict):
            found.append(scalars)
        elif number < len(lines):
            raise ValueError(
                f"'{path}' is broken in line {number}: it holds the figures of a training; mend "
                "that line or take it out."
            )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's and torch's numbers and arrays, without importing torch
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def safe_join(folder: str | Path, image_id: str, suffix: str = "") -> Path:
    """Return ``folder / (image_id + suffix)``; an id from a stranger's list must stay inside.

    An id may have subfolders (``a/b``).

    Raises:
        ValueError: If the id is empty, absolute, or climbs out of the folder.
    """
    parts = re.split(r"[/\\]", image_id)
    outside = any(part in ("", ".", "..") for part in parts) or "\0" in image_id
    if outside or Path(image_id).drive:
        raise ValueError(
            f"The image id '{image_id}' is no name inside a folder: an id has no '..', does not "
            "begin or end with '/', and is not empty; mend the list or the labels that name it."
        )
    return Path(folder) / (image_id + suffix)

"""The file of a split: one image id per line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from afa.files.whole_file import safe_join, write_text
from afa.utils.problems import Report, refuse


def read_split(
    path: str | Path, hint: str = "see docs/data.md", report: Report = refuse
) -> list[str]:
    """Read the image ids of a split.

    Args:
        path: The file.
        hint: What to do where it cannot be read.
        report: What to do with a line that has a fault; it is left out.

    Returns:
        The ids in the order of the file; empty lines do not count.

    Raises:
        ValueError: If the file cannot be read; also, unless ``report`` gathers it, if it is empty,
            has a line that is no id, or names an image twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Split file '{path}' cannot be read ({error}): {hint}.") from error
    img_ids = [line.strip() for line in text.splitlines() if line.strip()]
    return check_ids(img_ids, f"split file '{path}'", report)


def check_ids(img_ids: Sequence[str], source: str, report: Report = refuse) -> list[str]:
    """Refuse an empty split, and ids that have spaces, lead out of a folder, or come twice.

    Args:
        img_ids: The ids.
        source: Where they come from, for the sentence.
        report: What to do with an id that has a fault; it is left out.

    Returns:
        The ids.

    Raises:
        ValueError: If one of these is so, unless ``report`` gathers it.
    """
    if not img_ids:
        report("empty split", f"The {source} is empty: it must name at least one image.")
    seen: dict[str, None] = {}
    for img_id in img_ids:
        if len(img_id.split()) != 1:
            report(
                "split file",
                f"The {source} must have one image id per line, got the line '{img_id}'.",
            )
        elif img_id in seen:
            report("split file", f"The {source} names the image '{img_id}' twice: remove one.")
        elif problem := _leads_out(img_id):
            report("split file", f"The {source} has a line that is no image id: {problem}")
        else:
            seen[img_id] = None
    return list(seen)


def _leads_out(img_id: str) -> str | None:
    """Say why an id is no name inside of a folder: photos, masks and results are named after it."""
    try:
        safe_join("", img_id)
    except ValueError as error:
        return str(error)
    return None


def write_split(path: str | Path, img_ids: Iterable[str]) -> None:
    """Write the image ids of a split; the file is there whole or not at all.

    Args:
        path: The file; its folder must be there.
        img_ids: The ids.

    Raises:
        OSError: If the file cannot be written.
    """
    write_text(path, "".join(f"{img_id}\n" for img_id in img_ids))

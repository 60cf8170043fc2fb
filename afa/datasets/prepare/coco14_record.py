"""Remember what the label maps of a folder were made from, so that a second run can keep them."""

from __future__ import annotations

from pathlib import Path

from afa.files.whole_file import read_json, write_json

RECORD_FILE = "coco14.json"
_VERSION = 1  # raise when the same annotations give other pixels


def split_settings(sha256: str, crowd: str) -> dict:
    """Return what decides the pixels of a split: two runs with equal settings draw the same."""
    return {"version": _VERSION, "annotations_sha256": sha256, "crowd": crowd}


def read_record(out: str | Path) -> dict[str, dict]:
    """Read what was made in a folder.

    Args:
        out: Folder of the set.

    Returns:
        Split to settings; empty if nothing was made there.

    Raises:
        ValueError: If there is a file of that name that is no record.
    """
    path = Path(out) / RECORD_FILE
    try:
        content = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        content = None
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(item, dict) for item in splits.values()):
        raise ValueError(
            f"'{path}' is not the record that this command keeps there: remove it, and add "
            "--overwrite to make the set again."
        )
    return splits


def write_record(out: str | Path, record: dict[str, dict]) -> None:
    """Write what :func:`read_record` reads."""
    write_json(Path(out) / RECORD_FILE, {"dataset": "COCO14", "splits": record})

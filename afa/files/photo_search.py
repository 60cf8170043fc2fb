"""Find the photos that a command names, and give the outputs of each a name of its own."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Looked for in folders; a photo that is named itself may have any suffix.
PHOTO_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
# Kinds of photos that no reader here knows.
UNREAD_SUFFIXES = (
    ".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".jxl", ".nef", ".orf", ".psd", ".raf",
    ".rw2",
)  # fmt: skip
_WILDCARDS = "*?["


class PhotoFile(NamedTuple):
    """A photo and the name of its outputs."""

    path: Path
    name: str  # with '/' for sub-folders; unique among the photos, without a suffix where it can be


def find_photos(
    inputs: Sequence[str | Path], leave_out: str | Path | None = None
) -> list[PhotoFile]:
    """Find photos in files, folders (with their sub-folders) and patterns.

    The outputs of a photo are named after its path below the folder, or below the part of the
    pattern before the first wildcard; without suffix, unless another photo has the same name then.
    Where two inputs have a photo of one name, all names begin at the folder they have in common.

    Args:
        inputs: files, folders, and patterns (``*``, ``?``, ``[...]``, ``**`` for sub-folders).
        leave_out: a folder that is not walked, because earlier outputs are there.

    Returns:
        The photos, sorted by name; each file once.

    Raises:
        FileNotFoundError: if an input is not there.
        ValueError: if an input has no photo.
    """
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    found: dict[str, tuple[Path, Path]] = {}  # real path -> path, root
    for item in inputs:
        before = len(found)
        duplicates = 0
        for path, root in _expand(str(item), left_out):
            key = os.path.realpath(path)
            duplicates += key in found
            found.setdefault(key, (path, root))
        if len(found) == before and not duplicates:
            unread = len(unread_photos([item], leave_out))
            there = (
                f" {unread} are of kinds that are not read: convert them to JPEG." if unread else ""
            )
            raise ValueError(
                f"There is no photo in '{item}': photos are files that end in "
                f"{', '.join(PHOTO_SUFFIXES)} (a photo that is named itself may end in anything)."
                f"{there}"
            )
    return _named(list(found.values()))


def unread_photos(inputs: Sequence[str | Path], leave_out: str | Path | None = None) -> list[Path]:
    """Find what :func:`find_photos` passes over: photos of kinds that are not read, such as HEIC.

    One that lies beside a photo of its name, as cameras write JPEG and raw, does not count, nor
    does one that is named itself, which is a photo there.
    """
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    places = [str(item) for item in inputs if not os.path.isfile(item)]
    found = [path for item in places for path, _ in _expand(item, left_out, UNREAD_SUFFIXES)]
    return [path for path in dict.fromkeys(found) if not _has_twin(path)]


def _has_twin(path: Path) -> bool:
    stem = glob.escape(str(path.with_suffix("")))
    return any(_is_photo(other) for other in glob.glob(f"{stem}.*"))


def _expand(
    item: str, left_out: str | None, suffixes: tuple[str, ...] = PHOTO_SUFFIXES
) -> Iterator[tuple[Path, Path]]:
    """Give the photos of one input, each with the folder that its name starts from."""
    path = fixed = Path(item)
    if path.is_dir():
        yield from ((photo, path) for photo in _walk(item, left_out, suffixes))
        return
    if path.exists():
        yield path, path.parent
        return
    if not any(sign in item for sign in _WILDCARDS):
        raise FileNotFoundError(f"There is no photo or folder '{item}': mend the path.")
    while any(sign in str(fixed) for sign in _WILDCARDS):
        fixed = fixed.parent
    for match in sorted(glob.glob(item, recursive=True)):
        if os.path.isdir(match):
            if "**" not in item:  # which has listed what is in the folders already
                yield from ((photo, fixed) for photo in _walk(match, left_out, suffixes))
        elif _is_photo(match, suffixes) and not _below(os.path.realpath(match), left_out):
            yield Path(match), fixed


def _is_photo(path: str, suffixes: tuple[str, ...] = PHOTO_SUFFIXES) -> bool:
    # macOS leaves '._x.jpg' beside x.jpg on foreign discs.
    name = os.path.basename(path)
    return name.lower().endswith(suffixes) and not name.startswith(".")


def _below(path: str, folder: str | None) -> bool:
    return folder is not None and (path == folder or path.startswith(folder + os.sep))


def _walk(folder: str, left_out: str | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Give the photos of a folder and its sub-folders; a link that leads back ends there."""
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen or _below(real, left_out):
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(here, name) for name in sorted(files) if _is_photo(name, suffixes))


def _named(found: Sequence[tuple[Path, Path]]) -> list[PhotoFile]:
    full = [path.relative_to(root).as_posix() for path, root in found]
    if len(set(full)) < len(full):
        paths = [os.path.abspath(path) for path, _ in found]
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
        full = [Path(os.path.relpath(path, common)).as_posix() for path in paths]
    names = [Path(name).with_suffix("").as_posix() for name in full]
    while len(set(names)) < len(names):
        count = Counter(names)
        both = zip(names, full, strict=True)
        names = [whole if count[name] > 1 else name for name, whole in both]
    photos = [PhotoFile(path, name) for (path, _), name in zip(found, names, strict=True)]
    return sorted(photos, key=lambda photo: photo.name)

"""Open one photo and its mask, and say what is wrong with them. For worker processes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from afa.files.label_png import read_label_png
from afa.files.photo import decode_photo, exif_orientation, read_photo_bytes

# What libjpeg writes to stderr before it fills a hole in the data with grey. It also complains
# about bytes too many, which do no harm.
_DAMAGE = (b"premature end of data", b"bad Huffman code")


class PhotoFindings(NamedTuple):
    """What came out."""

    faults: list[tuple[str, str]]  # kind and sentence
    notes: list[tuple[str, str]]
    size: tuple[int, int] | None  # (height, width) as it is loaded; None if it cannot be
    mask_values: frozenset[int] | None = None  # those in its mask; None without a good one


def check_photo(
    img_path: str, mask_path: str | None, num_labels: int, apply_exif: bool = True
) -> PhotoFindings:
    """Decode a photo and, where it has one, its mask.

    Args:
        img_path: The photo.
        mask_path: Its mask, an indexed PNG; None if it has none.
        num_labels: Values below this are classes; 255 marks ignored pixels.
        apply_exif: Whether the photo is loaded upright, as its EXIF orientation says.

    Returns:
        Faults, things worth a look, the size, and the values that occur in the mask.
    """
    faults: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    values: frozenset[int] | None = None
    try:
        data = read_photo_bytes(img_path)
        with tempfile.TemporaryFile() as said, _stderr_into(said.fileno()):
            height, width = decode_photo(data, img_path, apply_exif).shape[:2]
            said.seek(0)
            complaints = said.read()
    except ValueError as error:
        return PhotoFindings([("unreadable photo", str(error))], notes, None)
    if any(words in complaints for words in _DAMAGE):
        sentence = f"Photo '{img_path}' has a hole in its data and is grey from there: replace it."
        faults.append(("damaged photo", sentence))
    if mask_path is not None:
        turned = exif_orientation(data) != 1
        found, values = _read_mask(mask_path, (height, width), num_labels, turned)
        faults += found
        if turned:
            state = "upright" if apply_exif else "as stored, against its EXIF data"
            sentence = f"'{img_path}' is loaded {state}: see that '{mask_path}' lies as it does."
            notes.append(("turned photo with a mask", sentence))
    return PhotoFindings(faults, notes, (height, width), values)


def _read_mask(
    path: str, size: tuple[int, int], num_labels: int, turned: bool
) -> tuple[list[tuple[str, str]], frozenset[int] | None]:
    """Give the faults of a mask, and the values that occur in it."""
    try:
        mask = read_label_png(path)
    except ValueError as error:
        return [("unreadable mask", str(error))], None
    faults = []
    if mask.shape != size:
        hint = "make both of one size."
        if turned and mask.shape == size[::-1]:
            hint = (
                "turn it as the photo is turned by its EXIF data, or set apply_exif of LoadPhoto."
            )
        sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, its photo {size[1]} x {size[0]}"
        faults.append(("mask size", f"The mask '{path}' is {sizes}: {hint}"))
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    wrong = [str(value) for value in values if num_labels <= value < 255]
    if wrong:
        shown = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        rule = f"labels are 0 to {num_labels - 1}, and 255 for ignored pixels."
        faults.append(("mask value", f"The mask '{path}' has the values {shown}: {rule}"))
    return faults, None if faults else frozenset(values)


@contextlib.contextmanager
def _stderr_into(target: int) -> Iterator[None]:
    """Lead what C libraries write to stderr into a file."""
    kept = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

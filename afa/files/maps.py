"""Arrays of images as compressed files without pickle: maps such as CAMs, counts, features.

A file of maps has three arrays, which ``np.load(path)`` reads: ``classes`` uint8 (M,), the label of
each map (0 background, 1..K foreground); ``maps`` (M, h, w), uint8 for the maps times 255 or
float32 for the maps themselves; ``size`` int32 (2,), height and width of the photo. Only classes
that the image can have are there.

Eight bits: an error of at most 0.002, a quarter of the bytes of float16 on CAMs (measured in
docs/pseudo_labels.md). float32: small maps that the next stage must read as they were.

A file of counts is what one image counts at each background score of a sweep; one of features has
those of some images. T background scores, C classes with the background, D channels.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from afa.files.whole_file import write_bytes

# What numpy raises for other files: AttributeError and TypeError for an array alone, MemoryError
# for a header that claims more numbers than there can be.
_BROKEN = (
    ValueError, KeyError, EOFError, AttributeError, TypeError, MemoryError, RecursionError,
    NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_ARRAYS = ("classes", "maps", "size")
_ROUNDING = 1e-3  # what float32 maps may lie outside of 0..1


class ImageMaps(NamedTuple):
    """Maps of one image.

    Args:
        classes: labels of the maps, ascending; 0 is the background, where it has a map.
        maps: (M, h, w) float32 in 0..1.
        size: height and width of the photo.
    """

    classes: list[int]
    maps: np.ndarray
    size: tuple[int, int]


def write_maps(
    path: str | Path,
    classes: Sequence[int],
    maps: np.ndarray,
    size: Sequence[int],
    exact: bool = False,
) -> None:
    """Write the maps of an image; the file is there whole or not at all.

    Args:
        path: The file (``.npz``); its folder must be there.
        classes: M labels, ascending, each once.
        maps: (M, h, w) float in 0..1; what lies outside is clipped. M may be 0.
        size: Height and width of the photo.
        exact: Keep float32 values as they are, instead of eight bits.

    Raises:
        ValueError: If the labels do not fit the maps, or a map holds NaN.
        OSError: If the file cannot be written.
    """
    labels = [int(label) for label in classes]
    maps = np.asarray(maps)
    if maps.ndim != 3 or len(maps) != len(labels):
        raise ValueError(
            f"{len(labels)} classes need maps ({len(labels)}, h, w), got {maps.shape}."
        )
    if labels != sorted(set(labels)) or any(not 0 <= label < 255 for label in labels):
        raise ValueError(f"The labels of maps must ascend within 0..254, got {labels}.")
    if np.isnan(maps).any():
        raise ValueError(f"A map of '{path}' holds NaN: the weights of the network are broken.")
    kept = maps if exact else np.rint(255 * np.clip(maps, 0, 1))
    _write(
        path,
        classes=np.array(labels, dtype=np.uint8),
        maps=kept.astype(np.float32 if exact else np.uint8),
        size=np.array(size, dtype=np.int32),
    )


def read_maps(path: str | Path) -> ImageMaps:
    """Read the maps of an image.

    Raises:
        ValueError: If the file is missing, broken, or no file of maps.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            classes, maps, size = (file[name] for name in _ARRAYS)
    except OSError as error:
        raise ValueError(f"Maps '{path}' cannot be read ({error}).") from error
    except _BROKEN as error:
        raise ValueError(
            f"'{path}' holds no maps, or is broken ({error}): make it anew."
        ) from error
    fits = maps.ndim == 3 and classes.shape == (len(maps),) and size.shape == (2,)
    if not fits or maps.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"'{path}' must hold classes (M,), maps (M, h, w) uint8 or float32 and size (2,), got "
            f"{classes.shape}, {maps.shape} {maps.dtype} and {size.shape}: make it anew."
        )
    # From -1 on, so that the first is 0 or more.
    if classes.dtype.kind not in "iu" or (np.diff(classes.astype(np.int64), prepend=-1) <= 0).any():
        raise ValueError(
            f"The classes of '{path}' must be integers from 0 on that ascend, got "
            f"{classes.tolist()}: make it anew."
        )
    if maps.dtype == np.uint8:
        maps = maps.astype(np.float32) / 255
    elif not (np.abs(maps - 0.5) <= 0.5 + _ROUNDING).all():  # NaN too
        raise ValueError(f"'{path}' must hold maps in 0..1, but some value is not: make it anew.")
    height, width = (int(side) for side in size)
    return ImageMaps(classes.tolist(), maps, (height, width))


def is_whole_maps(path: str | Path) -> bool:
    """Tell whether a file of maps is there and not cut off, without unpacking it."""
    try:
        with zipfile.ZipFile(path) as file:  # its directory stands at the end
            return {f"{name}.npy" for name in _ARRAYS} <= set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def write_counts(path: str | Path, scores: Sequence[float], counts: np.ndarray) -> None:
    """Write what an image counts at each of T background scores; the file is whole or not there.

    ``counts`` (T, C, C + 1) int64 are pixels by true and labelled class; an image has few classes,
    so that only what is not 0 is written.
    """
    places = np.argwhere(counts)
    _write(
        path,
        scores=np.array(scores, dtype=np.float64),
        shape=np.array(counts.shape, dtype=np.int64),
        places=places.astype(np.int32),
        pixels=counts[tuple(places.T)],
    )


def read_counts(path: str | Path, scores: Sequence[float]) -> np.ndarray | None:
    """Read what an image counts at each of T background scores.

    Returns:
        (T, C, C + 1) int64; None where the file is missing, broken, or lacks one of the scores.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = file["scores"].tolist()
            if not set(scores) <= set(found):
                return None
            counts = np.zeros(file["shape"], dtype=np.int64)
            counts[tuple(file["places"].T)] = file["pixels"]
    except (OSError, LookupError, *_BROKEN):
        return None
    return counts[[found.index(score) for score in scores]]


def write_features(path: str | Path, ids: Sequence[str], features: np.ndarray) -> None:
    """Write the features (n, D) of n images; the file is whole or not there."""
    _write(path, ids=np.array(ids), features=features.astype(np.float32))


def read_features(path: str | Path, ids: Sequence[str]) -> np.ndarray | None:
    """Read the features (n, D) float32 of n images; None where they are missing or of others."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found, features = file["ids"].tolist(), file["features"]
    except (OSError, *_BROKEN):
        return None
    fits = features.ndim == 2 and len(features) == len(found)
    return features if fits and found == list(ids) else None


def _write(path: str | Path, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())

"""Finish the label map of one image, in a worker process: dense CRF, two thresholds, files.

Neither torch nor mmseg is imported here, so that workers are light. L labels that the image can
have, H W pixels of the photo, h w of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from afa.files.crf import crf_of_logits, dense_crf
from afa.files.label_png import write_label_png
from afa.files.maps import write_maps

UNDECIDED = 255


@dataclass(frozen=True)
class LabelJob:
    """What is left to do for an image.

    Args:
        png: where the label map goes; it is written last.
        size: height and width of the photo.
        classes: L labels, background first.
        labels: for each background score (H, W) uint8, ready; empty where the CRF makes them.
        scores: for the CRF, (L, h, w) float32 for each background score.
        logits: whether the scores are logits, not shares.
        photo: for the CRF, (H', W', 3) uint8 RGB, perhaps reduced.
        npz: where maps go; None for nowhere.
        map_classes: labels of the maps.
        maps: (M, h, w) float32 in 0..1.
        exact: whether maps are written as they are, not in eight bits.
    """

    png: Path
    size: tuple[int, int]
    classes: Sequence[int]
    labels: Sequence[np.ndarray] = ()
    scores: Sequence[np.ndarray] = ()
    logits: bool = False
    photo: np.ndarray | None = None
    npz: Path | None = None
    map_classes: Sequence[int] = ()
    maps: np.ndarray | None = None
    exact: bool = False


def finish_label(
    job: LabelJob,
    palette: Sequence[Sequence[int]] | None = None,
    crf: Mapping[str, Any] | None = None,
) -> None:
    """Do what is left for an image and write its files, each whole or not at all.

    Args:
        job: the image.
        palette: RGB colours of the labels.
        crf: constants of :func:`dense_crf`, where the CRF makes the label map.

    Raises:
        ValueError: if the CRF cannot be computed.
        OSError: if a file cannot be written.
    """
    if job.npz is not None:
        assert job.maps is not None, "maps are to be written"
        write_maps(job.npz, job.map_classes, job.maps, job.size, job.exact)
    labels = job.labels or [_crf_label(job, scores, crf or {}) for scores in job.scores]
    label = labels[0] if len(labels) == 1 else merge_labels(*labels)
    write_label_png(job.png, label, palette)


def merge_labels(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Combine the label maps of a high and of a low background score, as training does.

    Args:
        high: (H, W) uint8 made with the high score.
        low: (H, W) uint8 made with the low score.

    Returns:
        (H, W) uint8: 255 where only the low score gives foreground.
    """
    return np.where((high == 0) & (low != 0), np.uint8(UNDECIDED), high)


def _crf_label(job: LabelJob, scores: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """Compute the CRF at the size of the photo that was handed in; (H, W) uint8 labels."""
    assert job.photo is not None, "the CRF needs the photo"
    if job.logits:
        probs = crf_of_logits(job.photo, scores, with_probs=True, **settings)
    else:
        probs = np.stack([_resize(one, job.photo.shape[:2]) for one in scores])
        probs /= probs.sum(axis=0).clip(min=1e-8)
        probs = dense_crf(job.photo, probs, **settings)
    best = best_label(probs, job.size)
    return np.asarray(job.classes, dtype=np.uint8)[best]


def best_label(probs: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize probabilities (L, h, w) and give the index (H, W) uint8 of the best of each pixel.

    Two maps of that size are in memory at a time, not L.
    """
    best: np.ndarray = np.zeros(tuple(size), dtype=np.uint8)
    highest = _resize(probs[0], size)
    for index, one in enumerate(probs[1:], start=1):
        one = _resize(one, size)
        higher = one > highest
        best[higher] = index
        highest[higher] = one[higher]
    return best


def _resize(one: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize (h, w) bilinearly as torch's ``F.interpolate`` does."""
    if one.shape == tuple(size):
        return one.copy()
    return cv2.resize(one, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)

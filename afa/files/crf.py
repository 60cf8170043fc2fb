"""Fully connected CRF with Gaussian edge potentials; numpy, OpenCV and pydensecrf alone.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011. Neither torch nor mmseg is imported here, so that a worker process that
computes CRFs is light. L labels, H W pixels, h w pixels of the logits::

    E(x) = sum_p -log P(x_p) + sum_{p<q} [x_p != x_q] (w1 exp(-|p-q|^2 / 2 s1^2)
           + w2 exp(-|p-q|^2 / 2 s2^2 - |I_p-I_q|^2 / 2 s3^2))

Both kernels are normalised symmetrically, as pydensecrf does by default: a weight does not grow
with the number of neighbours.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import cv2
import numpy as np

MIN_PROB = 1e-5  # a probability of 0 would have infinite energy
LABEL_THR = 0.02  # probability that a label must reach somewhere to enter
MAX_SIDE = 1024  # longest side of a photo, in pixels, that the CRF is computed at


@dataclass(frozen=True)
class CRFSettings:
    """Constants of the CRF.

    ``CRFSettings.AFA``, the defaults, are AFA's at test time; ``CRFSettings.AFFINITY_NET`` those of
    AffinityNet's authors, for their labels and after the random walk alike.

    Args:
        num_iters: steps of the mean-field inference.
        pos_xy_std: width of the position kernel in pixels, s1.
        pos_weight: weight of the position kernel, w1.
        bi_xy_std: width of the bilateral kernel in pixels, s2.
        bi_rgb_std: width of the bilateral kernel in grey levels (0..255), s3.
        bi_weight: weight of the bilateral kernel, w2.
        scale: the CRF is computed at this share of the image's sides, both widths in pixels with
            it, and its probabilities are resized back; 0.5 takes a third to a fourth of the time.

    Raises:
        ValueError: if a value is out of range.
    """

    num_iters: int = 10
    pos_xy_std: float = 3
    pos_weight: float = 3
    bi_xy_std: float = 64
    bi_rgb_std: float = 5
    bi_weight: float = 4
    scale: float = 1

    AFA: ClassVar[CRFSettings]
    AFFINITY_NET: ClassVar[CRFSettings]

    def __post_init__(self) -> None:
        number = self.num_iters
        if int(number) != number or number < 0:
            raise ValueError(f"DenseCRF needs a whole num_iters >= 0, got {number}: use e.g. 10")
        object.__setattr__(self, "num_iters", int(number))  # pydensecrf takes no 10.0
        for name, value in asdict(self).items():
            rule = "> 0" if name.endswith(("_std", "scale")) else ">= 0"
            if not math.isfinite(value) or value < 0 or (value == 0 and rule == "> 0"):
                raise ValueError(f"DenseCRF needs {name} {rule}, got {value}")
        if self.scale > 1:
            raise ValueError(f"DenseCRF needs scale <= 1, got {self.scale}: use e.g. 0.5")

    def at_scale(self) -> CRFSettings:
        """Give the constants for an image that has been reduced by ``scale``."""
        return replace(
            self,
            pos_xy_std=self.pos_xy_std * self.scale,
            bi_xy_std=self.bi_xy_std * self.scale,
            scale=1,
        )


CRFSettings.AFA = CRFSettings()
CRFSettings.AFFINITY_NET = CRFSettings(bi_xy_std=80, bi_rgb_std=13, bi_weight=10)


def check_crf() -> None:
    """Refuse to go on without pydensecrf.

    Raises:
        ValueError: If it is not installed.
    """
    if importlib.util.find_spec("pydensecrf") is None:
        raise ValueError(
            "The dense CRF needs the package pydensecrf2, which is not installed: run "
            "`pip install pydensecrf2` (it needs a C++ compiler), or do without the CRF."
        )


def crf_photo(photo: np.ndarray, max_side: int) -> np.ndarray:
    """Make a photo (H, W, 3) uint8 BGR what the CRF takes.

    Returns:
        (H', W', 3) uint8 RGB, reduced where a side is longer than ``max_side`` pixels.
    """
    share = max_side / max(photo.shape[:2])
    if share < 1:
        height, width = (max(1, round(side * share)) for side in photo.shape[:2])
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(photo[..., ::-1])


def dense_crf(
    image: np.ndarray, probs: np.ndarray, settings: CRFSettings = CRFSettings.AFA
) -> np.ndarray:
    """Sharpen label probabilities along the colours of an image by mean-field inference.

    The cost is linear in the number of labels: give those only that the image can have.

    Args:
        image: (H, W, 3) uint8 RGB.
        probs: (L, H, W) float32 probabilities in 0..1.
        settings: the constants.

    Returns:
        (L, H, W) float32 probabilities; for fewer than two labels ``probs`` itself.

    Raises:
        ValueError: If image and probabilities do not fit, or pydensecrf is not installed.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"The dense CRF wants an image (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}."
        )
    if probs.ndim != 3 or probs.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"The dense CRF wants probabilities (L, H, W) of the size of the image "
            f"{image.shape[:2]}, got {probs.shape}: resize them first."
        )
    num_labels, height, width = probs.shape
    if num_labels < 2:
        return probs
    if settings.scale < 1:
        size = [max(1, round(side * settings.scale)) for side in image.shape[:2]]
        small = np.stack([_resize(one, size, cv2.INTER_AREA) for one in probs])
        refined = dense_crf(_resize(image, size, cv2.INTER_AREA), small, settings.at_scale())
        return np.stack([_resize(one, image.shape) for one in refined])
    check_crf()
    from pydensecrf.densecrf import DenseCRF2D

    energy = -np.log(np.clip(probs, MIN_PROB, 1)).astype(np.float32)
    crf = DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(num_labels, -1)))
    crf.addPairwiseGaussian(sxy=settings.pos_xy_std, compat=settings.pos_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bi_xy_std,
        srgb=settings.bi_rgb_std,
        rgbim=np.require(image, requirements=("C", "W")),  # pydensecrf takes no read-only memory
        compat=settings.bi_weight,
    )
    return np.array(crf.inference(settings.num_iters), dtype=np.float32).reshape(probs.shape)


def crf_of_logits(
    image: np.ndarray,
    logits: np.ndarray,
    with_probs: bool = False,
    settings: CRFSettings = CRFSettings.AFA,
) -> np.ndarray:
    """Resize logits to an image, take their softmax, and sharpen it along the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        logits: (L, h, w) float32 of the labels that the image can have, resized bilinearly.
        with_probs: give probabilities and not labels.
        settings: the constants.

    Returns:
        (H, W) uint8, the index 0..L-1 of the best label; with ``with_probs`` (L, H, W) float32.
    """
    probs = np.stack([_resize(one, image.shape) for one in logits])
    probs -= probs.max(axis=0)
    np.exp(probs, out=probs)
    probs /= probs.sum(axis=0)
    refined = dense_crf(image, probs, settings)
    return refined if with_probs else refined.argmax(axis=0).astype(np.uint8)


def crf_of_shares(image: np.ndarray, shares: np.ndarray, settings: CRFSettings) -> np.ndarray:
    """Resize shares (L, h, w) float32, 0 or more, to an image and sharpen them along it.

    Returns:
        (L, H, W) float32 probabilities.
    """
    probs = np.stack([_resize(one, image.shape) for one in shares])
    probs /= probs.sum(axis=0).clip(min=1e-8)
    return dense_crf(image, probs, settings)


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


def _resize(one: np.ndarray, size: Sequence[int], how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Resize (h, w) to a height and width, bilinearly as torch's ``F.interpolate`` does: a copy."""
    return cv2.resize(one, (size[1], size[0]), interpolation=how)

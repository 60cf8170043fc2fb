"""Fully connected CRF with Gaussian edge potentials; numpy, OpenCV and pydensecrf alone.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011. Neither torch nor mmseg is imported here, so that a worker process that
computes CRFs is light. L labels, H W pixels, h w pixels of the logits.

    E(x) = sum_p -log P(x_p) + sum_{p<q} [x_p != x_q] (w1 exp(-|p-q|^2 / 2 s1^2)
           + w2 exp(-|p-q|^2 / 2 s2^2 - |I_p-I_q|^2 / 2 s3^2))

Both kernels are normalised symmetrically, as pydensecrf does by default: a weight does not grow
with the number of neighbours.
"""

import importlib.util
from typing import Any

import cv2
import numpy as np

MIN_PROB = 1e-5  # a probability of 0 would have infinite energy
LABEL_THR = 0.02  # probability that a label must reach somewhere to enter
MAX_SIDE = 1024  # longest side of a photo, in pixels, that the CRF is computed at


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
    """Make a photo what the CRF takes: RGB, and no longer than a CRF can be computed at.

    Args:
        photo: (H, W, 3) uint8 BGR.
        max_side: longest side of the result, in pixels.

    Returns:
        (H', W', 3) uint8 RGB, reduced where a side of the photo is longer.
    """
    share = max_side / max(photo.shape[:2])
    if share < 1:
        height, width = (max(1, round(side * share)) for side in photo.shape[:2])
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(photo[..., ::-1])


def dense_crf(
    image: np.ndarray,
    probs: np.ndarray,
    num_iters: int = 10,
    pos_xy_std: float = 3,
    pos_weight: float = 3,
    bi_xy_std: float = 64,
    bi_rgb_std: float = 5,
    bi_weight: float = 4,
) -> np.ndarray:
    """Sharpen label probabilities along the colours of an image by mean-field inference.

    The cost is linear in the number of labels: give those only that the image can have.

    Args:
        image: (H, W, 3) uint8 RGB.
        probs: (L, H, W) float32 probabilities in 0..1.
        num_iters: steps of the mean-field inference.
        pos_xy_std: width of the position kernel in pixels.
        pos_weight: weight of the position kernel.
        bi_xy_std: width of the bilateral kernel in pixels.
        bi_rgb_std: width of the bilateral kernel in grey levels (0..255).
        bi_weight: weight of the bilateral kernel.

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
    check_crf()
    from pydensecrf.densecrf import DenseCRF2D

    energy = -np.log(np.clip(probs, MIN_PROB, 1)).astype(np.float32)
    crf = DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(num_labels, -1)))
    crf.addPairwiseGaussian(sxy=pos_xy_std, compat=pos_weight)
    crf.addPairwiseBilateral(
        sxy=bi_xy_std,
        srgb=bi_rgb_std,
        rgbim=np.require(image, requirements=("C", "W")),  # pydensecrf takes no read-only memory
        compat=bi_weight,
    )
    return np.array(crf.inference(num_iters), dtype=np.float32).reshape(probs.shape)


def crf_of_logits(
    image: np.ndarray, logits: np.ndarray, with_probs: bool = False, **settings: Any
) -> np.ndarray:
    """Resize logits to an image, take their softmax, and sharpen it along the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        logits: (L, h, w) float32 of the labels that the image can have, resized bilinearly.
        with_probs: give probabilities and not labels.
        settings: constants of :func:`dense_crf`.

    Returns:
        (H, W) uint8, the index 0..L-1 of the best label; with ``with_probs`` (L, H, W) float32.
    """
    size = (image.shape[1], image.shape[0])  # OpenCV's order
    probs = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in logits])
    probs -= probs.max(axis=0)
    np.exp(probs, out=probs)
    probs /= probs.sum(axis=0)
    refined = dense_crf(image, probs, **settings)
    return refined if with_probs else refined.argmax(axis=0).astype(np.uint8)

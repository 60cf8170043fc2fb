"""Dense CRF as a refiner that a config names."""

import math
from typing import Any

import numpy as np
from mmseg.registry import MODELS

from afa.files.crf import dense_crf


@MODELS.register_module()
class DenseCRF:
    """Sharpen label probabilities along the colours of an image: see :func:`dense_crf`.

    It runs on CPU, holds the interpreter lock and learns nothing: use it in worker processes
    (:class:`afa.utils.ordered_pool.OrderedPool` with ``partial(dense_crf, **crf.settings)``). The
    defaults are AFA's at test time; those of AffinityNet's labels are `afa.labels.options.CRF`.

    Args:
        num_iters: steps of the mean-field inference.
        pos_xy_std: width of the position kernel in pixels.
        pos_weight: weight of the position kernel.
        bi_xy_std: width of the bilateral kernel in pixels.
        bi_rgb_std: width of the bilateral kernel in grey levels (0..255).
        bi_weight: weight of the bilateral kernel.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        num_iters: int = 10,
        pos_xy_std: float = 3,
        pos_weight: float = 3,
        bi_xy_std: float = 64,
        bi_rgb_std: float = 5,
        bi_weight: float = 4,
    ) -> None:
        if int(num_iters) != num_iters or num_iters < 0:
            raise ValueError(f"DenseCRF needs a whole num_iters >= 0, got {num_iters}: use e.g. 10")
        widths = dict(pos_xy_std=pos_xy_std, bi_xy_std=bi_xy_std, bi_rgb_std=bi_rgb_std)
        weights = dict(pos_weight=pos_weight, bi_weight=bi_weight)
        for name, value in {**widths, **weights}.items():
            if not math.isfinite(value) or value < 0 or (name in widths and value == 0):
                rule = "> 0" if name in widths else ">= 0"
                raise ValueError(f"DenseCRF needs {name} {rule}, got {value}")
        self.settings: dict[str, Any] = dict(num_iters=int(num_iters), **widths, **weights)

    def __call__(self, image: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Refine ``probs`` (L, H, W) float32 along ``image`` (H, W, 3) uint8 RGB.

        Returns:
            (L, H, W) float32 probabilities; for fewer than two labels ``probs`` itself.

        Raises:
            ValueError: If they do not fit each other, or pydensecrf is not installed.
        """
        return dense_crf(image, probs, **self.settings)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{type(self).__name__}({values})"

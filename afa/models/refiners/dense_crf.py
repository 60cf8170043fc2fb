"""Dense CRF as a refiner that a config names."""

from typing import Any

import numpy as np
from mmseg.registry import MODELS
from torch import nn

from afa.files.crf import LABEL_THR, MAX_SIDE, CRFSettings, dense_crf


@MODELS.register_module()
class DenseCRF(CRFSettings):
    """Sharpen label probabilities along the colours of an image: see :func:`dense_crf`.

    It runs on CPU, holds the interpreter lock and learns nothing: use it in worker processes, as
    :class:`afa.utils.ordered_pool.OrderedPool` of ``partial(dense_crf, settings=crf.settings)``.
    Its arguments are those of :class:`CRFSettings`.
    """

    @property
    def settings(self) -> CRFSettings:
        """The constants alone, which a worker process reads without importing torch."""
        return CRFSettings(**vars(self))

    def __call__(self, image: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Refine ``probs`` (L, H, W) float32 along ``image`` (H, W, 3) uint8 RGB.

        Returns:
            (L, H, W) float32 probabilities; for fewer than two labels ``probs`` itself.

        Raises:
            ValueError: If they do not fit each other, or pydensecrf is not installed.
        """
        return dense_crf(image, probs, self)


def crf_of_model(model: nn.Module) -> tuple[CRFSettings, float, int]:
    """Read ``test_cfg.crf`` of a model: what it does not say has the defaults.

    Returns:
        The constants; ``label_thr``, the probability that a label must reach somewhere to enter;
        ``max_side``, the longest side in pixels of a photo that the CRF is computed at.

    Raises:
        ValueError: If a value is out of range.
    """
    crf: dict[str, Any] = dict(getattr(model.test_cfg, "crf", None) or {})
    label_thr, max_side = crf.pop("label_thr", LABEL_THR), crf.pop("max_side", MAX_SIDE)
    return MODELS.build({"type": "DenseCRF", **crf}).settings, label_thr, max_side

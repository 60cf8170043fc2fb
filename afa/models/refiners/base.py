"""What a refiner is: a linear map of masks along the colours of images.

B images, M masks, H W pixels.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


class Refiner(nn.Module, metaclass=ABCMeta):
    """Refine masks along images; ``model.refiner`` of AFA and of the CAM classifiers.

    A refiner of one's own gives :meth:`weights` and :meth:`refine`. Segmentors compute the weights
    of a batch once and refine several sets of masks with them: of two background scores, and before
    and after the random walk. That is why the refinement has to be linear in the masks, each one
    for itself: refining two sets together is refining each.
    """

    @abstractmethod
    def weights(self, images: Tensor) -> Tensor:
        """Compute what depends on the images alone.

        Args:
            images: (B, 3, H, W) RGB, whole numbers 0..255, float.

        Returns:
            Any tensor (B, ..., H, W): it is given to :meth:`refine`.
        """

    @abstractmethod
    def refine(self, masks: Tensor, weights: Tensor) -> Tensor:
        """Refine masks.

        Args:
            masks: (B, M, h, w), to be resized to the images (:meth:`resize`).
            weights: of :meth:`weights`.

        Returns:
            (B, M, H, W) float32.
        """

    @torch.no_grad()
    def refine_sets(self, sets: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
        """Refine several sets of masks (B, M_i, h_i, w_i) of the same images in one pass.

        Args:
            sets: the masks; see :meth:`refine` for each.
            weights: of :meth:`weights`.

        Returns:
            The sets, (B, M_i, H, W) each.
        """
        together = torch.cat([self.resize(masks, weights) for masks in sets], dim=1)
        return list(self.refine(together, weights).split([s.shape[1] for s in sets], dim=1))

    @staticmethod
    def resize(masks: Tensor, weights: Tensor) -> Tensor:
        """Bring masks to the height and width of the weights, bilinearly with corners aligned."""
        size, masks = weights.shape[-2:], masks.float()
        if masks.shape[2:] == size:
            return masks
        return F.interpolate(masks, size=size, mode="bilinear", align_corners=True)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Refine ``masks`` (B, M, h, w) along ``images`` (B, 3, H, W); gives (B, M, H, W).

        No gradient flows through the refinement: it makes labels.

        Args:
            images: (B, 3, H, W) RGB float, 0..255.
            masks: (B, M, h, w) float.

        Returns:
            (B, M, H, W) float32.
        """
        return self.refine(masks, self.weights(images))


def build_refiner(cfg: dict[str, Any] | None) -> Any:
    """Build the refiner of a segmentor.

    Args:
        cfg: config of a :class:`Refiner`, or of any class with its methods; None for no refiner.

    Returns:
        The refiner or None.

    Raises:
        ValueError: if what the config names lacks one of the methods.
    """
    if cfg is None:
        return None
    refiner = MODELS.build(cfg)
    wanted = ("weights", "refine", "refine_sets")
    lacking = [f"{name}()" for name in wanted if not callable(getattr(refiner, name, None))]
    if lacking:
        raise ValueError(
            f"model.refiner: {type(refiner).__name__} refines no masks of a batch, it has no "
            f"{', '.join(lacking)}: take PAR, or derive from Refiner (docs/extend.md); the dense "
            "CRF sharpens results instead, with --crf"
        )
    return refiner

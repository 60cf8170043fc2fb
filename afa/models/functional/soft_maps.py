"""Soft masks of one batch for any background score: CAM, PAR, random walk and PAR.

B images, M present classes at most, T background scores, H W pixels, h w of the masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afa.models.functional.affinity import RandomWalk
from afa.models.functional.cam import resize_maps
from afa.models.functional.pseudo_label import stacked_masks

KINDS = ("cam", "par", "propagated")
SEG = "seg"
ALL_KINDS = (*KINDS, SEG)


def check_kind(kind: str) -> None:
    """Refuse a kind of label map that there is not.

    Raises:
        ValueError: if it is none of ``ALL_KINDS``.
    """
    if kind not in ALL_KINDS:
        now = " ('affinity' is called 'propagated' now)" if kind == "affinity" else ""
        raise ValueError(f"--kind must be one of {', '.join(ALL_KINDS)}, got '{kind}'{now}.")


@dataclass(frozen=True)
class Refinement:
    """A refiner with its weights for one batch of images: a linear map of masks.

    Args:
        refiner: such as :class:`PAR`.
        weights: what its ``weights`` gave for the images.
        size: height and width at which it refines.
    """

    refiner: Any
    weights: Tensor
    size: tuple[int, int]

    def __call__(self, masks: Tensor) -> Tensor:
        """Refine masks (B, m, h, w) to (B, m, *size)."""
        return self.refiner.refine(masks, self.weights)


@dataclass(frozen=True, eq=False)
class SoftMaps:
    """Make soft masks from what was computed once for a batch of images.

    CAMs, the weights of PAR and the affinity do not depend on the background score; each score
    costs a softmax and, with PAR and the walk linear in the masks, one more set of masks in them.

    Args:
        cams: (B, M, H, W) in 0..1.
        class_idx: (B, M) their foreground classes 0..K-1, -1 for none.
        refine: the refiner for these images; None for a model without.
        walk: the random walk along their affinity; None for a model without.
    """

    cams: Tensor
    class_idx: Tensor
    refine: Refinement | None = None
    walk: RandomWalk | None = None

    @torch.no_grad()
    def walked(self, bkg_scores: Sequence[float]) -> Tensor:
        """Walk the masks of T background scores and bring them back to the size of the CAMs.

        CAMs come to the token grid before the softmax, and walked masks go back with corners not
        aligned: aligned ones would move what lies at the border.

        Returns:
            (B, T * (1 + M), H, W), not refined.
        """
        assert self.walk is not None, "the kind 'propagated' has been checked"
        tokens = stacked_masks(self.cams, self.class_idx, bkg_scores, self.walk.grid)
        return resize_maps(self.walk(tokens), self.cams.shape[2:])

    @torch.no_grad()
    def __call__(self, kind: str, bkg_scores: Sequence[float]) -> Tensor:
        """Make the soft masks of one kind.

        Args:
            kind: ``'cam'``, the softmax over background score and CAMs; ``'par'``, at the size of
                the refiner and refined; ``'propagated'``, walked and, where there is a refiner,
                refined.
            bkg_scores: T background scores in 0..1.

        Returns:
            (B, T, 1 + M, h, w), background first. Masks of a pixel need not sum to 1: PAR adds
            its position weight in every step, and the walk loses a little.

        Raises:
            ValueError: if the kind is unknown, or the model cannot make it.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got '{kind}'")
        if dict(par=self.refine, propagated=self.walk).get(kind, self.cams) is None:
            missing = "no refiner" if kind == "par" else "no propagation"
            raise ValueError(f"this model makes no '{kind}' maps: it has {missing}")
        if kind == "propagated":
            masks = self.walked(bkg_scores)
        else:
            size = self.refine.size if kind == "par" and self.refine is not None else None
            masks = stacked_masks(self.cams, self.class_idx, bkg_scores, size)
        if kind != "cam" and self.refine is not None:
            masks = self.refine(masks)
        return masks.unflatten(1, (len(bkg_scores), -1))

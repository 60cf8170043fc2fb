"""Soft masks of one batch for any background score: CAM, PAR, random walk and PAR.

B images, M present classes at most, T background scores, H W pixels, h w of the masks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from afa.models.utils.pseudo_label import Refine, soft_masks

KINDS = ("cam", "par", "affinity")


class SoftMaps:
    """Make soft masks from what was computed once for a batch of images.

    CAMs, the weights of PAR and the affinity do not depend on the background score; each score
    costs a softmax and, with PAR and the walk linear in the masks, one more set of masks in them.

    Args:
        cams: (B, M, H, W) in 0..1.
        class_idx: (B, M) their foreground classes 0..K-1, -1 for none.
        refine: linear map of masks (B, m, h, w), such as PAR; None for a model without.
        walk: linear map of masks before ``refine``, such as the random walk along affinity; None
            for a model without.
    """

    def __init__(
        self,
        cams: Tensor,
        class_idx: Tensor,
        refine: Refine | None = None,
        walk: Refine | None = None,
    ) -> None:
        self.cams = cams
        self.class_idx = class_idx
        self.refine = refine
        self.walk = walk

    @torch.no_grad()
    def __call__(self, kind: str, bkg_scores: Sequence[float]) -> Tensor:
        """Make the soft masks of one kind.

        Args:
            kind: ``'cam'``, the softmax over background score and CAMs; ``'par'``, refined;
                ``'affinity'``, walked and, where there is a refiner, refined.
            bkg_scores: T background scores in 0..1.

        Returns:
            (B, T, 1 + M, h, w), background first. Masks of a pixel need not sum to 1: PAR adds
            its position weight in every step, and the walk loses a little.

        Raises:
            ValueError: if the kind is unknown, or the model cannot make it.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got '{kind}'")
        steps = dict(cam=[], par=[self.refine], affinity=[self.walk, self.refine])[kind]
        if steps and steps[0] is None:
            missing = "no refiner" if kind == "par" else "no propagation"
            raise ValueError(f"this model makes no '{kind}' maps: it has {missing}")
        masks = torch.cat(
            [soft_masks(self.cams, self.class_idx, score) for score in bkg_scores], dim=1
        )
        for step in steps:
            masks = masks if step is None else step(masks)
        return masks.unflatten(1, (len(bkg_scores), -1))

"""Soft masks and label maps from CAMs: one way for evaluation, pseudo labels and prediction."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.utils import (
    KINDS,
    SoftMaps,
    cut_padding,
    present_classes,
    refined_label,
)

# Kind of the soft masks -> field of the label map in the data sample.
PRED_FIELDS = dict(cam="pred_cam", par="pred_par", affinity="pred_propagated")


class SoftMapsMixin:
    """Give a segmentor that has CAMs what every use of its labels needs.

    The segmentor has ``compute_cams(inputs, class_idx, with_affinity)``, ``_refine(inputs)`` and
    ``_propagate(affinity, grid)`` as :class:`AFA` has them, the module ``refiner`` (or None),
    ``train_cfg.propagation``, ``test_cfg.bkg_thr`` and ``test_cfg.cls_thr``.
    """

    refiner: Any
    train_cfg: Any
    test_cfg: Any
    compute_cams: Any
    _refine: Any
    _propagate: Any

    @property
    def map_kinds(self) -> tuple[str, ...]:
        """Kinds of soft masks that this model makes, of ``KINDS``."""
        has = dict(par=self.refiner is not None, affinity=self.train_cfg.propagation is not None)
        return tuple(kind for kind in KINDS if has.get(kind, True))

    @torch.no_grad()
    def map_maker(
        self, inputs: Tensor, class_idx: Tensor, kinds: Sequence[str] = KINDS
    ) -> SoftMaps:
        """Compute once what the soft masks of these images need, for any background score.

        Args:
            inputs: (B, 3, H, W) network inputs.
            class_idx: (B, M) present classes, see :func:`present_classes`.
            kinds: what the result will be asked for; what only others need is not computed.

        Returns:
            The maker; its ``cams`` are (B, M, H, W).
        """
        propagate = "affinity" in kinds and "affinity" in self.map_kinds
        cams, affinity, grid = self.compute_cams(inputs, class_idx, with_affinity=propagate)
        refine = self._refine(inputs) if set(kinds) - {"cam"} else None
        walk = self._propagate(affinity, grid) if propagate else None
        return SoftMaps(cams, class_idx, refine, walk)

    def soft_maps(
        self, inputs: Tensor, class_idx: Tensor, kind: str, bkg_scores: Sequence[float]
    ) -> Tensor:
        """Make the soft masks of one kind, (B, T, 1 + M, h, w); see :class:`SoftMaps`."""
        return self.map_maker(inputs, class_idx, (kind,))(kind, bkg_scores)

    def predict_pseudo_labels(
        self, inputs: Tensor, scores: Tensor, data_samples: list[SegDataSample]
    ) -> None:
        """Write ``pred_cam``, ``pred_par`` and ``pred_propagated`` into the data samples.

        Args:
            inputs: (B, 3, H, W) network inputs.
            scores: (B, K) probabilities of the classes, for images without ``gt_label``.
            data_samples: with ``pred_sem_seg``, whose size the label maps get.
        """
        predicted = (scores > self.test_cfg.cls_thr).float()
        labels = torch.stack(
            [
                sample.get("gt_label", guess)
                for sample, guess in zip(data_samples, predicted, strict=True)
            ]
        )
        class_idx = present_classes(labels)
        maps = self.map_maker(inputs, class_idx, self.map_kinds)
        for kind in self.map_kinds:
            soft = maps(kind, [self.test_cfg.bkg_thr])[:, 0]
            for i, sample in enumerate(data_samples):
                padding = sample.metainfo.get("img_padding_size")
                label = refined_label(
                    cut_padding(soft[i : i + 1], inputs.shape[2:], padding),
                    class_idx[i : i + 1],
                    sample.pred_sem_seg.shape,
                )
                sample.set_data({PRED_FIELDS[kind]: PixelData(data=label)})

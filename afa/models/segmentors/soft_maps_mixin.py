"""Soft masks and label maps from CAMs: one way for evaluation, pseudo labels and prediction."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional import (
    KINDS,
    RandomWalk,
    Refinement,
    SoftMaps,
    cut_padding,
    present_classes,
    refined_label,
    resize_maps,
    scale_size,
)

# Kind of the soft masks -> field of the label map in the data sample.
PRED_FIELDS = dict(cam="pred_cam", par="pred_par", propagated="pred_propagated")


class SoftMapsMixin:
    """Give a segmentor that has CAMs what every use of its labels needs.

    The segmentor has ``_cams_and_walk`` (below), the module ``refiner`` (or None), its
    ``refine_scale`` (share of the resolution at which it runs), ``test_cfg.bkg_thr`` and
    ``test_cfg.cls_thr``, and mmseg's ``data_preprocessor``.
    """

    data_preprocessor: Any
    refiner: Any
    refine_scale: float
    test_cfg: Any

    @property
    def has_walk(self) -> bool:
        """Whether the model spreads its CAMs by a random walk."""
        return False

    def _cams_and_walk(
        self, inputs: Tensor, class_idx: Tensor, with_walk: bool
    ) -> tuple[Tensor, RandomWalk | None]:
        """Give the CAMs (B, M, H, W) and, if asked for, the random walk."""
        raise NotImplementedError

    @property
    def map_kinds(self) -> tuple[str, ...]:
        """Kinds of soft masks that this model makes, of ``KINDS``."""
        has = dict(par=self.refiner is not None, propagated=self.has_walk)
        return tuple(kind for kind in KINDS if has.get(kind, True))

    def image_labels(self, data_samples: Sequence[SegDataSample]) -> Tensor:
        """Stack the image labels (B, K) that training needs; ValueError where there are none."""
        if not all("gt_label" in sample for sample in data_samples):
            raise ValueError(
                "training needs the image labels of every photo (gt_label): give "
                "train_dataloader.dataset an image_labels file or folder"
            )
        return torch.stack([sample.gt_label for sample in data_samples])

    def num_present(self, data_samples: Sequence[SegDataSample]) -> int | None:
        """Largest number of classes of an image, where the data pipeline has counted them."""
        counts = [sample.metainfo.get("num_labels") for sample in data_samples]
        return None if None in counts else max(counts, default=0)

    def rgb_images(self, inputs: Tensor) -> Tensor:
        """Undo the normalisation: network inputs (B, 3, H, W) to RGB 0..255."""
        mean = getattr(self.data_preprocessor, "mean", None)
        if mean is None:
            return inputs
        return inputs * self.data_preprocessor.std + mean

    def _refine(self, inputs: Tensor) -> Refinement | None:
        """Give the refinement of masks along these images; its weights are computed once."""
        return None if self.refiner is None else self._refine_along(self.rgb_images(inputs))

    def _refine_along(self, images: Tensor) -> Refinement:
        """Give the refinement along RGB images (B, 3, H, W), at its share of their resolution.

        They are cut to whole numbers 0..255, as the AFA program does.
        """
        size = scale_size(images.shape[2:], self.refine_scale)
        eight_bit = images.clamp(0, 255).floor()
        return Refinement(self.refiner, self.refiner.weights(resize_maps(eight_bit, size)), size)

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
        propagate = "propagated" in kinds and "propagated" in self.map_kinds
        cams, walk = self._cams_and_walk(inputs, class_idx, with_walk=propagate)
        refine = self._refine(inputs) if set(kinds) - {"cam"} else None
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
            data_samples: with their metainfo; without ``ori_shape``, the label maps get the size
                of the inputs.
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
                    sample.metainfo.get("ori_shape", inputs.shape[2:])[:2],
                )
                sample.set_data({PRED_FIELDS[kind]: PixelData(data=label)})

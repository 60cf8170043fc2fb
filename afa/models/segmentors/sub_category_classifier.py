"""Classifier of classes and sub-categories: CAMs that cover more of an object (SC-CAM).

Chang et al., "Weakly-Supervised Semantic Segmentation via Sub-category Exploration", CVPR 2020. B
images, K foreground classes, h w tokens.
"""

from typing import Any

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.segmentors.cam_classifier import CAMClassifier


@MODELS.register_module()
class SubCategoryClassifier(CAMClassifier):
    """Learn image labels and, on the same features, the sub-categories that clustering found.

    The call chain::

        loss:     backbone -> cls_head -> loss_cls
                           -> sub_head -> loss_sub (lambda times; its loss_weight)
        predict:  as CAMClassifier: scores and CAMs are those of cls_head, the classes'

    ``mode='tensor'`` gives ``sub_logits`` (B, K * num_sub) beside the outputs of CAMClassifier.

    Args:
        sub_head: config of :class:`SubCategoryHead`; its ``in_channels`` are those of what
            ``cls_head`` pools.
        **kwargs: arguments of :class:`CAMClassifier`.
    """

    def __init__(self, sub_head: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sub_head = MODELS.build(sub_head)

    def sub_logits(self, feat: Tensor) -> Tensor:
        """Give the logits (B, K * num_sub) for the classified level (B, C, h, w)."""
        return self.sub_head(self.cls_head.embed(feat))

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the losses of classes and of sub-categories.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with ``gt_label`` (K,) and ``gt_sub_label`` (K * num_sub,).

        Returns:
            ``loss_cls`` and ``loss_sub``.

        Raises:
            ValueError: if a sample has no labels, or another number of sub-categories.
        """
        if not all("gt_sub_label" in sample for sample in data_samples):
            raise ValueError(
                "training needs the sub-categories of every photo (gt_sub_label): give "
                "train_dataloader.dataset the sub_labels file that the clustering has written"
            )
        labels = self.image_labels(data_samples)
        sub_labels = torch.stack([sample.gt_sub_label for sample in data_samples])
        feat = self.extract_feat(inputs)
        return dict(
            loss_cls=self.cls_head.loss(self.cls_head(feat), labels),
            loss_sub=self.sub_head.loss(self.sub_logits(feat), sub_labels),
        )

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> dict[str, Tensor]:
        """Give the raw outputs (``mode='tensor'``)."""
        feat = self.extract_feat(inputs)
        return dict(
            cls_logits=self.cls_head(feat),
            cam=self.cls_head.class_maps(feat),
            sub_logits=self.sub_logits(feat),
        )

"""CAM classifier: the first stage of the multi-stage methods, on any backbone.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016. By default the
CAMs are those of AffinityNet (Ahn & Kwak, CVPR 2018): scales 1, 0.5, 1.5 and 2, image and mirror
image summed, divided by the maximum. B images, K foreground classes, H W crop, h w tokens, M
present classes at most.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional.cam import MIRRORS, multi_scale_cams
from afa.models.segmentors.afa_cfg import from_cfg
from afa.models.segmentors.cam_classifier_cfg import CAMClassifierTestCfg
from afa.models.segmentors.soft_maps_mixin import SoftMapsMixin
from afa.utils.evaluating import evaluating


@MODELS.register_module()
class CAMClassifier(SoftMapsMixin, BaseSegmentor):
    """Learn image labels; the classifier's weights say where the classes are.

    The call chain::

        loss:     backbone -> cls_head -> loss_cls
        predict:  backbone -> cls_head -> pred_label; with test_cfg.pseudo_labels also pred_cam:
                  compute_cams -> soft masks, and pred_par: -> refiner

    ``mode='tensor'`` gives a dict: ``cls_logits`` (B, K) and ``cam`` (B, K, h, w), the raw class
    maps before ReLU. There is no segmentation, and so no ``pred_sem_seg``.

    Args:
        backbone: config of any backbone that gives a tuple of levels: :class:`ResNet38`,
            :class:`VGG16LargeFOV`, :class:`MiTAttn`, mmseg's ResNet.
        cls_head: config of :class:`CAMHead`; the papers pool by average.
        refiner: config of :class:`PAR`; None for none.
        cam_scales: factors of the image at which CAMs are computed, each with its mirror image.
        cam_mirror: ``'sum'`` of image and mirror image (AffinityNet), or ``'max'`` (AFA).
        cam_subtract_min: also subtract the minimum before the division (AFA).
        in_index: level of the backbone that is classified.
        test_cfg: see :class:`CAMClassifierTestCfg`.
        data_preprocessor: mmseg's SegDataPreProcessor; its mean and std give PAR its colours back.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: if a setting is unknown or outside its range.
    """

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        refiner: dict | None = None,
        cam_scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
        cam_mirror: str = "sum",
        cam_subtract_min: bool = False,
        in_index: int = -1,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not cam_scales or min(cam_scales) <= 0:
            raise ValueError(f"model.cam_scales must be factors above 0, got {cam_scales}")
        if cam_mirror not in MIRRORS:
            raise ValueError(f"model.cam_mirror must be one of {MIRRORS}, got {cam_mirror!r}")
        self.test_cfg = from_cfg(CAMClassifierTestCfg, test_cfg, "model.test_cfg")
        self.refine_scale = self.test_cfg.refine_scale
        self.backbone = MODELS.build(backbone)
        self.cls_head = MODELS.build(cls_head)
        self.refiner = None if refiner is None else MODELS.build(refiner)
        self.cam_scales = tuple(cam_scales)
        self.cam_mirror = cam_mirror
        self.cam_subtract_min = cam_subtract_min
        self.in_index = in_index
        self.num_classes = self.cls_head.classifier.out_channels + 1

    # ---- pieces ---------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the level that is classified, (B, C, h, w), for (B, 3, H, W)."""
        return self.backbone(inputs)[self.in_index]

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Refuse: a classifier gives no segmentation logits."""
        raise NotImplementedError(
            "CAMClassifier does not segment: make labels from its CAMs and train a network on them"
        )

    @torch.no_grad()
    def image_features(self, inputs: Tensor) -> Tensor:
        """Describe each image (B, 3, H, W) by what its logits are computed from, (B, C').

        In evaluation mode, whatever the mode of the model; SC-CAM clusters these vectors.
        """
        with evaluating(self):
            return self.cls_head.image_features(self.extract_feat(inputs)).float()

    @torch.no_grad()
    def compute_cams(self, inputs: Tensor, class_idx: Tensor) -> Tensor:
        """Compute CAMs over all scales and mirror images.

        In evaluation mode, whatever the mode of the model: without dropout and drop path, and
        without a trace in the statistics of batch norms.

        Args:
            inputs: (B, 3, H, W) network inputs.
            class_idx: (B, M) present classes, see :func:`present_classes`.

        Returns:
            (B, M, H, W) float32 in 0..1.
        """

        def class_maps(images: Tensor, scale: float) -> Tensor:
            return self.cls_head.class_maps(self.extract_feat(images))

        with evaluating(self):
            return multi_scale_cams(
                class_maps,
                inputs,
                class_idx,
                self.cam_scales,
                self.cam_mirror,
                self.cam_subtract_min,
            )

    def _cams_and_walk(
        self, inputs: Tensor, class_idx: Tensor, with_walk: bool
    ) -> tuple[Tensor, None]:
        """CAMs; there is no random walk, see :class:`SoftMapsMixin`."""
        return self.compute_cams(inputs, class_idx), None

    # ---- modes ----------------------------------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the classification loss.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with ``gt_label`` (K,).

        Returns:
            ``loss_cls``.
        """
        labels = self.image_labels(data_samples)
        return dict(loss_cls=self.cls_head.loss(self.cls_head(self.extract_feat(inputs)), labels))

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Classify images and, with ``test_cfg.pseudo_labels``, make labels from CAMs.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with their metainfo; ``gt_label``, where present, tells which classes the
                CAM labels may have, else the predicted classes do. None for new ones.

        Returns:
            The data samples with ``pred_label`` (K,) probabilities, and the label maps (1, H', W')
            at the original size.
        """
        scores = self.cls_head(self.extract_feat(inputs)).sigmoid()
        if data_samples is None:
            data_samples = [SegDataSample() for _ in scores]
        for sample, score in zip(data_samples, scores, strict=True):
            sample.set_data(dict(pred_label=score))
        if self.test_cfg.pseudo_labels:
            self.predict_pseudo_labels(inputs, scores, data_samples)
        return data_samples

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> dict[str, Tensor]:
        """Give the raw outputs (``mode='tensor'``)."""
        feat = self.extract_feat(inputs)
        return dict(cls_logits=self.cls_head(feat), cam=self.cls_head.class_maps(feat))

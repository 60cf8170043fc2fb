"""CAM classifiers: the first stage of the multi-stage methods, on any backbone.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016. By default the
CAMs are those of AffinityNet (Ahn & Kwak, CVPR 2018): scales 1, 0.5, 1.5 and 2, image and mirror
image summed, divided by the maximum. SC-CAM (Chang et al., "Weakly-Supervised Semantic Segmentation
via Sub-category Exploration", CVPR 2020) adds sub-categories. B images, K foreground classes, H W
crop, h w tokens, M present classes at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional.cam import MIRRORS, multi_scale_cams
from afa.models.head_channels import with_known_channels
from afa.models.segmentors.base import CAMTestCfg, WSSSSegmentor
from afa.utils.evaluating import evaluating
from afa.utils.settings import from_cfg


@dataclass(frozen=True)
class CAMClassifierTestCfg(CAMTestCfg):
    """What testing computes beside the class probabilities; see also :class:`CAMTestCfg`.

    Args:
        bkg_thr: 0.28 is where AffinityNet's background (1 - max)^4 meets a single class, for CAMs
            that are divided by their maximum.
        refine_scale: the refiner runs at this share of the image's resolution.
    """

    bkg_thr: float = 0.28
    refine_scale: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.refine_scale <= 0:
            raise ValueError(f"test_cfg.refine_scale must be above 0, got {self.refine_scale}")


@MODELS.register_module()
class CAMClassifier(WSSSSegmentor):
    """Learn image labels; the classifier's weights say where the classes are.

    The call chain::

        loss:     backbone -> cls_head -> loss_cls
        predict:  backbone -> cls_head -> pred_label; with test_cfg.pseudo_labels also pred_cam:
                  cams_and_walk -> soft masks, and pred_par: -> refiner

    ``mode='tensor'`` gives a dict: ``cls_logits`` (B, K) and ``cam`` (B, K, h, w), the raw class
    maps before ReLU. There is no segmentation, and so no ``pred_sem_seg``.

    Args:
        backbone: config of any backbone that gives a tuple of levels: :class:`ResNet38`,
            :class:`VGG16LargeFOV`, :class:`MiTAttn`, mmseg's ResNet.
        cls_head: config of :class:`CAMHead`; the papers pool by average.
        refiner: config of a :class:`Refiner` (:class:`PAR`); None for none.
        cam_scales: factors of the image at which CAMs are computed, each with its mirror image.
        cam_mirror: ``'sum'`` of image and mirror image (AffinityNet), or ``'max'`` (AFA).
        cam_subtract_min: also subtract the minimum before the division (AFA).
        in_index: level of the backbone that is classified.
        test_cfg: see :class:`CAMClassifierTestCfg`.
        data_preprocessor: mmseg's SegDataPreProcessor; its mean and std give PAR its colours back.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: if the refiner lacks what is asked of it, or a setting is unknown or outside
            its range.
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
        if not cam_scales or min(cam_scales) <= 0:
            raise ValueError(f"model.cam_scales must be factors above 0, got {cam_scales}")
        if cam_mirror not in MIRRORS:
            raise ValueError(f"model.cam_mirror must be one of {MIRRORS}, got {cam_mirror!r}")
        tests = from_cfg(CAMClassifierTestCfg, test_cfg, "model.test_cfg")
        super().__init__(
            backbone,
            cls_head,
            refiner,
            tests.refine_scale,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            in_index=in_index,
        )
        self.test_cfg = tests
        self.cam_scales = tuple(cam_scales)
        self.cam_mirror = cam_mirror
        self.cam_subtract_min = cam_subtract_min
        self.in_index = in_index
        self.num_classes = self.cls_head.classifier.out_channels + 1

    # ---- pieces ---------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the level that is classified, (B, C, h, w), for (B, 3, H, W)."""
        return self.backbone(inputs)[self.in_index]

    def outputs(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Give class logits (B, K); a classifier gives no segmentation logits."""
        return self.cls_head(self.extract_feat(inputs)), None

    @torch.no_grad()
    def image_features(self, inputs: Tensor) -> Tensor:
        """Describe each image (B, 3, H, W) by what its logits are computed from, (B, C').

        In evaluation mode, whatever the mode of the model; SC-CAM clusters these vectors.
        """
        with evaluating(self):
            return self.cls_head.image_features(self.extract_feat(inputs)).float()

    @torch.no_grad()
    def cams_and_walk(
        self, inputs: Tensor, class_idx: Tensor, with_walk: bool = False
    ) -> tuple[Tensor, None]:
        """Compute CAMs over all scales and mirror images; there is no random walk.

        In evaluation mode, whatever the mode of the model: without dropout and drop path, and
        without a trace in the statistics of batch norms.

        Args:
            inputs: (B, 3, H, W) network inputs.
            class_idx: (B, M) present classes, see :func:`present_classes`.
            with_walk: never, see :class:`WSSSSegmentor`.

        Returns:
            (B, M, H, W) float32 in 0..1, and None.
        """

        def class_maps(images: Tensor, scale: float) -> Tensor:
            return self.cls_head.class_maps(self.extract_feat(images))

        with evaluating(self):
            how = (self.cam_scales, self.cam_mirror, self.cam_subtract_min)
            return multi_scale_cams(class_maps, inputs, class_idx, *how), None

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

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> dict[str, Tensor]:
        """Give the raw outputs (``mode='tensor'``)."""
        feat = self.extract_feat(inputs)
        return dict(cls_logits=self.cls_head(feat), cam=self.cls_head.class_maps(feat))


@MODELS.register_module()
class SubCategoryClassifier(CAMClassifier):
    """Learn image labels and, on the same features, the sub-categories that clustering found.

    The call chain::

        loss:     backbone -> cls_head -> loss_cls
                           -> sub_head -> loss_sub (lambda times; its loss_weight)
        predict:  as CAMClassifier: scores and CAMs are those of cls_head, the classes'

    ``mode='tensor'`` gives ``sub_logits`` (B, K * num_sub) beside the outputs of CAMClassifier.

    Args:
        sub_head: config of :class:`SubCategoryHead`, on what ``cls_head`` pools.
        **kwargs: arguments of :class:`CAMClassifier`.
    """

    def __init__(self, sub_head: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        wide = self.cls_head.classifier.in_channels
        origin = f"cls_head classifies {wide} channels"
        sub_head = with_known_channels(sub_head, "model.sub_head", wide, origin)
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

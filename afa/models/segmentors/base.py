"""What every segmentor that makes labels from CAMs shares, and what it asks of its parts.

B images, K foreground classes, C = K + 1, M present classes at most, T background scores, H W
pixels of the network's input, h w of a feature map.
"""

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional import (
    KINDS,
    SEG,
    RandomWalk,
    Refinement,
    SoftMaps,
    cut_padding,
    label_map,
    label_of_masks,
    present_classes,
    resize_maps,
    scale_size,
)
from afa.models.head_channels import with_channels
from afa.models.refiners import build_refiner

SEG_LOGITS = (None, "head", "full")


class AttentionBackbone(Protocol):
    """A backbone that an affinity can be made of: maps of several levels, and attention.

    Attributes:
        head_dim: channels of one attention head, which scale the logits.
        num_attn: optional, the number A of attention maps.
        out_channels: optional, the channels of the maps, from which heads take theirs.
        has_qk: optional, True where ``forward`` takes ``with_qk`` too and then gives queries and
            keys, (B, A, N, head_dim) each, in the place of the logits, which are N times larger.
    """

    head_dim: int

    def forward(self, x: Tensor, with_attn: bool = False, drop_path: bool = True) -> Any:
        """Compute features.

        Args:
            x: (B, 3, H, W) of any size.
            with_attn: also give attention logits.
            drop_path: False switches stochastic depth off in training mode too: CAMs are made
                without it.

        Returns:
            A tuple of maps (B, C_i, h_i, w_i), the last one for the classifier; with ``with_attn``
            a pair of these and of logits (B, A, N, N) before scaling and softmax, query by key,
            N = h * w of the last map, row-major.
        """


class TrainingView(NamedTuple):
    """What a model makes of one image in training, to be drawn."""

    cams: Tensor  # (M, H, W) in 0..1
    labels: dict[str, Tensor]  # title -> (H, W) label map
    query_maps: dict[str, Tensor]  # title -> (N, N) in 0..1, a row for each token of the grid
    grid: tuple[int, int]
    cam_classes: Tensor | None = None  # (M,) label value of each CAM
    untrained: Collection[str] = ()  # titles of what no loss has reached yet in this phase


@dataclass(frozen=True)
class CAMTestCfg:
    """What testing computes beside the network's own output.

    Args:
        pseudo_labels: also give the labels made from CAMs, from the refiner and from the
            propagation, so that they can be evaluated.
        bkg_thr: the one background score of these labels; 0 for sets where every pixel has a class.
        cls_thr: probability above which a class counts as predicted; used for these labels where
            an image has no image labels.
    """

    pseudo_labels: bool = False
    bkg_thr: float = 0.45
    cls_thr: float = 0.5

    def __post_init__(self) -> None:
        check_share("test_cfg.bkg_thr", self.bkg_thr)
        check_share("test_cfg.cls_thr", self.cls_thr)


def check_share(name: str, value: float) -> None:
    """Refuse a value outside 0..1 with a ValueError that names it."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")


class WSSSSegmentor(BaseSegmentor):
    """Learn image labels and make label maps from the CAMs of the classifier.

    A method is a subclass in a file of its own. It gives :meth:`cams_and_walk`, :meth:`loss` and
    :meth:`outputs` and, where ``WSSSVisualizationHook`` is to draw its labels in training,
    ``training_view(inputs, data_sample)``, which gives a :class:`TrainingView`. What it learns one
    after the other is named in ``phases``; ``PhaseHook`` says when. Everything that uses its CAMs
    and labels (evaluation, pseudo labels, prediction) goes through this class.

    The call chain of ``mode='predict'``::

        outputs() -> pred_label (K,), pred_sem_seg (1, H, W) where the model segments
        test_cfg.pseudo_labels: cams_and_walk() -> soft masks -> pred_cam, pred_par, pred_propagated

    Args:
        backbone: config of the backbone.
        cls_head: config of the classification head, see :class:`CAMHead`.
        refiner: config of a :class:`Refiner` such as :class:`PAR`; None for none.
        refine_scale: the refiner runs at this share of the input's resolution.
        with_attention: whether the backbone has to be an :class:`AttentionBackbone`.
        data_preprocessor: mmseg's SegDataPreProcessor; its mean and std give the refiner its
            colours back.
        init_cfg: mmengine initialisation.
        in_index: level of the backbone that is classified.

    Attributes:
        phases: what a training step can compute, in order, each with the rough cost of such a step
            compared with the first; empty for one kind of step.
        phase: the present one, the last of them at first; None without.
        keeps_logits: whether ``test_cfg.seg_logits`` decides about logits in the results.

    Raises:
        ValueError: if backbone or refiner lack what is asked of them, or a head does not fit the
            backbone.
    """

    phases: ClassVar[Mapping[str, float]] = {}
    keeps_logits: ClassVar[bool] = False
    test_cfg: Any  # a CAMTestCfg
    align_corners = False

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        refiner: dict | None = None,
        refine_scale: float = 0.5,
        with_attention: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        in_index: int = -1,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if with_attention:
            _check_attention(self.backbone, type(self).__name__)
        cls_head = with_channels(cls_head, "model.cls_head", self.backbone, in_index)
        self.cls_head = MODELS.build(cls_head)
        self.refiner = build_refiner(refiner)
        self.refine_scale = refine_scale
        self.phase = list(self.phases)[-1] if self.phases else None

    def set_phase(self, phase: str) -> None:
        """Choose what a training step computes: one of ``phases``."""
        if phase not in self.phases:
            raise ValueError(f"phase must be one of {tuple(self.phases)}, got {phase!r}")
        self.phase = phase

    # ---- what a method gives --------------------------------------------------------------------

    @property
    def has_walk(self) -> bool:
        """Whether the model spreads its CAMs by a random walk."""
        return False

    def cams_and_walk(
        self, inputs: Tensor, class_idx: Tensor, with_walk: bool
    ) -> tuple[Tensor, RandomWalk | None]:
        """Give the CAMs (B, M, H, W) in 0..1 of the present classes and, if asked for, the walk.

        Args:
            inputs: (B, 3, H, W) network inputs.
            class_idx: (B, M) present classes, see :func:`present_classes`.
            with_walk: only where the model has one.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no cams_and_walk()")

    def outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give class logits (B, K) and segmentation logits (B, C, h, w) float32, or None."""
        raise NotImplementedError(f"{type(self).__name__} gives no outputs()")

    # ---- what a loss needs ----------------------------------------------------------------------

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

    def refinement(self, images: Tensor) -> Refinement:
        """Give the refinement along RGB images (B, 3, H, W), at its share of their resolution.

        Its weights are computed here, once. The images are cut to whole numbers 0..255, as the AFA
        program does.
        """
        size = scale_size(images.shape[2:], self.refine_scale)
        eight_bit = images.clamp(0, 255).floor()
        return Refinement(self.refiner, self.refiner.weights(resize_maps(eight_bit, size)), size)

    # ---- soft masks and label maps --------------------------------------------------------------

    @property
    def map_kinds(self) -> tuple[str, ...]:
        """Kinds of soft masks that this model makes, of ``KINDS``."""
        has = dict(par=self.refiner is not None, propagated=self.has_walk)
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
        with_walk = "propagated" in kinds and self.has_walk
        cams, walk = self.cams_and_walk(inputs, class_idx, with_walk)
        refines = self.refiner is not None and set(kinds) - {"cam"}
        refine = self.refinement(self.rgb_images(inputs)) if refines else None
        return SoftMaps(cams, class_idx, refine, walk)

    def predict_pseudo_labels(
        self,
        inputs: Tensor,
        scores: Tensor,
        data_samples: list[SegDataSample],
        kinds: Sequence[str] | None = None,
    ) -> None:
        """Write the label map of every kind, ``pred_cam`` and so on, into the data samples.

        Where the metainfo says ``keep_cams``, the CAMs ``cams`` (M, h, w) in 0..1 are written too,
        and the metainfo gets ``cam_values``, the label values 1..K of their classes.

        Args:
            inputs: (B, 3, H, W) network inputs.
            scores: (B, K) probabilities of the classes, for images without ``gt_label``.
            data_samples: with their metainfo; without ``ori_shape``, the label maps get the size
                of the inputs.
            kinds: which of ``map_kinds``; None for all.
        """
        kinds = self.map_kinds if kinds is None else kinds
        predicted = (scores > self.test_cfg.cls_thr).float()
        labels = torch.stack(
            [
                sample.get("gt_label", guess)
                for sample, guess in zip(data_samples, predicted, strict=True)
            ]
        )
        class_idx = present_classes(labels)
        maps = self.map_maker(inputs, class_idx, kinds)
        for kind in kinds:
            soft = maps(kind, [self.test_cfg.bkg_thr])[:, 0]
            for i, sample in enumerate(data_samples):
                padding = sample.metainfo.get("img_padding_size")
                label = label_of_masks(
                    cut_padding(soft[i : i + 1], inputs.shape[2:], padding),
                    class_idx[i : i + 1],
                    sample.metainfo.get("ori_shape", inputs.shape[2:])[:2],
                )
                sample.set_data({f"pred_{kind}": PixelData(data=label)})
        for cams, idx, sample in zip(maps.cams, class_idx, data_samples, strict=True):
            if sample.metainfo.get("keep_cams"):
                padding = sample.metainfo.get("img_padding_size")
                cams = cut_padding(cams[None, idx >= 0], inputs.shape[2:], padding)[0]
                sample.set_data(dict(cams=cams))
                sample.set_metainfo(dict(cam_values=(idx[idx >= 0] + 1).tolist()))

    # ---- mmseg's modes --------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Any:
        """Give the feature maps of the backbone for (B, 3, H, W)."""
        return self.backbone(inputs)

    def head_logits(self, inputs: Tensor) -> Tensor:
        """Give the segmentation logits of :meth:`outputs` alone.

        Raises:
            NotImplementedError: if the model gives none.
        """
        logits = self.outputs(inputs)[1]
        if logits is None:
            raise NotImplementedError(
                f"{type(self).__name__} does not segment: make labels from its CAMs and train a "
                "network on them"
            )
        return logits

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Give segmentation logits (B, C, H, W) at the size of the inputs."""
        return self.resize_logits(self.head_logits(inputs), inputs.shape[2:])

    def resize_logits(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Resize segmentation logits (B, C, h, w) as the head's ``align_corners`` says."""
        return F.interpolate(
            logits, size=tuple(size), mode="bilinear", align_corners=self.align_corners
        )

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Classify and segment images and, with ``test_cfg.pseudo_labels``, make labels from CAMs.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with their metainfo; ``gt_label``, where present, tells which classes the
                CAM labels may have, else the predicted classes do. None for new ones.

        Returns:
            The data samples with ``pred_label`` (K,) probabilities and the label maps (1, H', W')
            at the original size.
        """
        cls_logits, seg_logits = self.outputs(inputs)
        scores = cls_logits.sigmoid()
        if seg_logits is not None:
            keep = self.test_cfg.seg_logits if self.keeps_logits else None
            size = inputs.shape[2:]
            data_samples = write_result(seg_logits, data_samples, self.align_corners, keep, size)
        elif data_samples is None:
            data_samples = [SegDataSample() for _ in scores]
        for sample, score in zip(data_samples, scores, strict=True):
            sample.set_data(dict(pred_label=score))
        if self.test_cfg.pseudo_labels:
            self.predict_pseudo_labels(inputs, scores, data_samples)
        return data_samples


def _check_attention(backbone: Any, method: str) -> None:
    """Refuse a backbone that is no :class:`AttentionBackbone`."""
    parameters = inspect.signature(backbone.forward).parameters.values()
    takes = {parameter.name for parameter in parameters}
    lacking = [f"forward(..., {name}=)" for name in ("with_attn", "drop_path") if name not in takes]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        lacking = []
    lacking += [] if hasattr(backbone, "head_dim") else ["head_dim"]
    if lacking:
        raise ValueError(
            f"model.backbone: {method} makes affinity from attention, but "
            f"{type(backbone).__name__} has no {', no '.join(lacking)}: take MiTAttn, TimmViT or "
            "TimmCNN, or give it what AttentionBackbone lists (docs/extend.md)"
        )


def write_result(
    seg_logits: Tensor,
    data_samples: list[SegDataSample] | None = None,
    align_corners: bool = False,
    keep: str | None = None,
    size: Sequence[int] | None = None,
) -> list[SegDataSample]:
    """Write the segmentation into data samples, at the size of the photos.

    Padding is cut away, and a mirrored input is mirrored back, as mmseg does.

    Args:
        seg_logits: (B, C, h, w) at any size; they are resized to the photo in one step.
        data_samples: with their metainfo; None for new ones, at the size of the input.
        align_corners: as in ``F.interpolate``.
        keep: whether ``seg_logits`` is written too: None, ``'head'`` for (C, h, w) as they are
            given (without padding (C, h', w')), or ``'full'`` for (C, H, W).
        size: height and width of the network's input; None for those of the logits.

    Returns:
        The data samples with ``pred_sem_seg`` (1, H, W) int64.
    """
    size = tuple(size or seg_logits.shape[2:])
    if data_samples is None:
        data_samples = [SegDataSample(metainfo=dict(ori_shape=size)) for _ in seg_logits]
    for logits, sample in zip(seg_logits, data_samples, strict=True):
        meta = sample.metainfo
        padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
        logits = cut_padding(logits[None], size, padding)[0]
        if meta.get("flip"):
            logits = logits.flip(2 if meta.get("flip_direction") == "horizontal" else 1)
        left, right, top, bottom = padding
        inside = (size[0] - top - bottom, size[1] - left - right)
        height, width = meta.get("ori_shape", inside)[:2]
        if keep == "full":
            logits = F.interpolate(
                logits[None], (height, width), mode="bilinear", align_corners=align_corners
            )[0]
        label = label_map(logits, (height, width), align_corners)
        sample.set_data(dict(pred_sem_seg=PixelData(data=label)))
        if keep is not None:
            sample.set_data(dict(seg_logits=PixelData(data=logits)))
    return data_samples


def label_kinds(model: Any) -> list[str]:
    """List the kinds of label maps, of ``ALL_KINDS``, that any model makes; the best one last."""
    return [*getattr(model, "map_kinds", ()), *([SEG] if hasattr(model, "decode_head") else [])]


def check_makes(model: Any, kind: str) -> None:
    """Refuse a kind of label maps that a model does not make, with a ValueError."""
    has = label_kinds(model)
    if kind not in has:
        raise ValueError(
            f"This model ({type(model).__name__}) makes no '{kind}' labels: "
            + (f"choose --kind {' or '.join(has)}." if has else "it has neither CAMs nor a head.")
        )


def segment(model: Any, images: Tensor, metas: list[dict]) -> Tensor:
    """Give the logits (B, C, h, w) of any model that segments.

    As the head gives them where the model can (``head_logits``); else, with sliding windows where
    they are set, at the size of the images, as mmseg's models do.
    """
    if hasattr(model, "head_logits"):
        return model.head_logits(images)
    return getattr(model, "inference", model.encode_decode)(images, metas)

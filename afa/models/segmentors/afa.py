"""AFA: affinity from attention, end to end.

Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic Segmentation
with Transformers", CVPR 2022. B images, K foreground classes, C = K + 1, H W crop, h w tokens at
stride 16, N = h * w, M present classes at most.

What the authors' program does and this one does not: it runs the segmentation head in every CAM
pass; it makes CAMs with drop path active; it recomputes PAR's weights for every set of masks of an
image; it multiplies unused losses by 0 (here a phase does not compute what it does not need).
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional import (
    RandomWalk,
    SoftMaps,
    affinity_label,
    attention_affinity,
    ignore_outside,
    label_of_two_scores,
    multi_scale_cams,
    present_classes,
    resize_images,
    scale_size,
    stacked_masks,
)
from afa.models.head_channels import with_channels, with_known_channels
from afa.models.segmentors.afa_cfg import AFATestCfg, AFATrainCfg
from afa.models.segmentors.base import TrainingView, WSSSSegmentor
from afa.utils.settings import from_cfg

Attention: TypeAlias = Tensor | tuple[Tensor, Tensor]  # logits, or queries and keys


@MODELS.register_module()
class AFA(WSSSSegmentor):
    """Classify, make labels from the classifier, and learn to segment from them in one step.

    The call chain of ``mode='loss'``, by phase (``phase`` is set by :class:`PhaseHook`)::

        cls:         backbone -> cls_head -> loss_cls
        pseudo:      ... + make_labels(): cams -> PAR -> pseudo label
                     -> affinity_head -> loss_aff;  decode_head -> loss_seg (, loss_reg)
        propagated:  ... + random walk along the affinity -> PAR -> propagated label, from which
                     the segmentation learns

    ``mode='predict'`` gives ``pred_sem_seg`` and ``pred_label`` and, with
    ``test_cfg.pseudo_labels``, ``pred_cam``, ``pred_par`` and ``pred_propagated``.
    ``mode='tensor'`` gives a dict: ``cls_logits`` (B, K), ``seg_logits`` (B, C, H/4, W/4),
    ``affinity`` (B, N, N), ``cam`` (B, K, h, w) raw class maps before ReLU.

    Args:
        backbone: config of an :class:`AttentionBackbone` (:class:`MiTAttn`).
        cls_head: config of :class:`CAMHead`.
        decode_head: config of the segmentation head, :class:`LeanSegformerHead` or mmseg's.
        affinity_head: config of :class:`AttentionAffinityHead`; None for training without affinity.
        refiner: config of a :class:`Refiner` (:class:`PAR`); None for labels straight from CAMs.
        loss_reg: config of :class:`DenseEnergyLoss`; None for no regulariser.
        train_cfg: see :class:`AFATrainCfg`.
        test_cfg: see :class:`AFATestCfg`.
        data_preprocessor: mmseg's SegDataPreProcessor; its mean and std give PAR its colours back.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: if the propagation needs an affinity head that is not there, a part lacks what
            is asked of it, or a setting is unknown or outside its range.
    """

    phases = {"cls": 1.0, "pseudo": 3.5, "propagated": 4.3}  # measured on Shapes, on CPU
    keeps_logits = True

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        decode_head: dict,
        affinity_head: dict | None = None,
        refiner: dict | None = None,
        loss_reg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        labels = from_cfg(AFATrainCfg, train_cfg, "model.train_cfg")
        tests = from_cfg(AFATestCfg, test_cfg, "model.test_cfg")
        if labels.propagation == "affinity" and affinity_head is None:
            raise ValueError(
                "model.train_cfg.propagation='affinity' needs model.affinity_head: give one, or "
                "set propagation to 'attention' or None"
            )
        super().__init__(
            backbone, cls_head, refiner, labels.refine_scale, True, data_preprocessor, init_cfg
        )
        self.train_cfg, self.test_cfg = labels, tests
        decode_head = with_channels(decode_head, "model.decode_head", self.backbone)
        self.decode_head = MODELS.build(decode_head)
        self.affinity_head = None
        if affinity_head is not None:
            number = getattr(self.backbone, "num_attn", None)
            origin = f"{type(self.backbone).__name__} gives {number} attention maps"
            self.affinity_head = MODELS.build(
                with_known_channels(affinity_head, "model.affinity_head", number, origin)
            )
        self.loss_reg = None if loss_reg is None else MODELS.build(loss_reg)
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels  # mmseg's SegTTAModel asks for it

    # ---- pieces ---------------------------------------------------------------------------------

    def head_logits(self, inputs: Tensor) -> Tensor:
        """Give segmentation logits (B, C, H/4, W/4) as the head computes them, in float32."""
        return self.decode_head(self.extract_feat(inputs)).float()

    def outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Give class logits (B, K) and segmentation logits (B, C, H/4, W/4), in float32."""
        feats = self.extract_feat(inputs)
        return self.cls_head(feats[-1]), self.decode_head(feats).float()

    def affinity(self, attn: Attention) -> Tensor:
        """Affinity (B, N, N) that the propagation spreads along, from what _ask_attention gets."""
        if self.train_cfg.propagation == "attention" or self.affinity_head is None:
            return attention_affinity(attn, self.backbone.head_dim)
        return self.affinity_head(attn)

    def _ask_attention(self, learned: bool = True) -> dict[str, bool]:
        """Arguments with which the backbone gives what an affinity is made from.

        The learned affinity needs queries and keys only, where the backbone can give them.
        """
        learned = learned and self.affinity_head is not None
        name = "with_qk" if learned and getattr(self.backbone, "has_qk", False) else "with_attn"
        return {name: True}

    @torch.no_grad()
    def cams_and_walk(
        self,
        inputs: Tensor,
        class_idx: Tensor,
        with_walk: bool = False,
        feat: Tensor | None = None,
    ) -> tuple[Tensor, RandomWalk | None]:
        """Compute CAMs over all scales and, on the way, the affinity of one scale.

        Only the encoder runs, without drop path.

        Args:
            inputs: (B, 3, H, W) network inputs.
            class_idx: (B, M) present classes, see :func:`present_classes`.
            with_walk: also give the walk along the affinity at ``train_cfg.propagation_scale``.
            feat: (B, C, h, w) stage 4 of the inputs without drop path, where it is known.

        Returns:
            CAMs (B, M, H, W) in 0..1; the walk, with the affinity (B, N', N') of the unmirrored
            images and its token grid, or None.
        """
        cfg, walk = self.train_cfg, None
        ask = self._ask_attention(cfg.propagation != "attention")

        def encode(images: Tensor, scale: float) -> Tensor:
            nonlocal walk
            if not with_walk or scale != cfg.propagation_scale:
                known = [] if feat is None or scale != 1.0 else [feat]
                rest = images[len(inputs) * len(known) :]
                made = [self.backbone(rest, drop_path=False)[-1]] if len(rest) else []
                return self.cls_head.class_maps(torch.cat([*known, *made]))
            feats, attn = self._encode(images, ask, len(inputs))
            grid = (feats.shape[2], feats.shape[3])
            walk = RandomWalk(self.affinity(attn), grid, cfg.radius, cfg.power, cfg.num_steps)
            return self.cls_head.class_maps(feats)

        cams = multi_scale_cams(
            encode, inputs, class_idx, cfg.cam_scales, mirror_scales=cfg.mirror_scales
        )
        if with_walk and walk is None:  # no class at all, or a scale of its own
            encode(resize_images(inputs, cfg.propagation_scale), cfg.propagation_scale)
        return cams, walk

    def _encode(self, images: Tensor, ask: dict[str, bool], num: int) -> tuple[Tensor, Attention]:
        """Stage 4 of images, and the attention of the first ``num``; the rest are mirror images."""
        if "with_qk" in ask:
            feats, (q, k) = self.backbone(images, drop_path=False, **ask)
            return feats[-1], (q[:num], k[:num])
        # Logits are large: the mirror images, whose nobody needs, run apart.
        feats, attn = self.backbone(images[:num], drop_path=False, **ask)
        if len(images) == num:
            return feats[-1], attn
        return torch.cat([feats[-1], self.backbone(images[num:], drop_path=False)[-1]]), attn

    @property
    def has_walk(self) -> bool:
        """Whether the labels are propagated."""
        return self.train_cfg.propagation is not None

    @torch.no_grad()
    def make_labels(
        self,
        inputs: Tensor,
        labels: Tensor,
        img_boxes: Sequence[Sequence[int]] | None = None,
        propagate: bool = True,
        num_present: int | None = None,
        feat: Tensor | None = None,
    ) -> dict[str, Any]:
        """Make pseudo labels from image labels.

        Args:
            inputs: (B, 3, H, W) network inputs.
            labels: (B, K) multi-hot image labels.
            img_boxes: real image (y0, y1, x0, x1) in each padded crop; None for no padding.
            propagate: also make the propagated label.
            num_present: M, where it is known, see :func:`present_classes`.
            feat: see :meth:`cams_and_walk`.

        Returns:
            ``class_idx`` (B, M), ``cams`` (B, M, H, W), ``pseudo`` (B, H, W) and, with
            ``propagate``, ``propagated`` (B, H, W) and the ``walk``.
        """
        cfg, size = self.train_cfg, tuple(inputs.shape[2:])
        class_idx = present_classes(labels, num_present)
        cams, walk = self.cams_and_walk(inputs, class_idx, propagate, feat)
        whole = (0, size[0], 0, size[1])
        boxes = [whole] * len(inputs) if img_boxes is None else [_cut(b, size) for b in img_boxes]
        with torch.autocast(inputs.device.type, enabled=False):
            scores = (cfg.bkg_thr_high, cfg.bkg_thr_low)
            refined_at = None if self.refiner is None else scale_size(size, self.refine_scale)
            sets = [stacked_masks(cams, class_idx, scores, refined_at)]
            if walk is not None:
                sets.append(SoftMaps(cams, class_idx, walk=walk).walked(scores))
            images = self.rgb_images(inputs)
            # One pass for the batch, or for each image where they differ in their padding.
            groups = [(slice(None), whole)]
            if any(box != whole for box in boxes):
                groups = [(slice(i, i + 1), box) for i, box in enumerate(boxes)]
            parts = [
                self._labels([masks[group] for masks in sets], class_idx[group], images[group], box)
                for group, box in groups
            ]
        made = [torch.cat(of_groups) for of_groups in zip(*parts, strict=True)]
        labels_made = dict(zip(("pseudo", "propagated"), made, strict=False))
        return dict(class_idx=class_idx, cams=cams, walk=walk, **labels_made)

    def _labels(
        self,
        sets: Sequence[Tensor],
        class_idx: Tensor,
        images: Tensor,
        box: tuple[int, int, int, int],
    ) -> list[Tensor]:
        """Refine masks of one or two kinds and make a label (B, H, W) of each.

        Args:
            sets: masks of the pseudo label, refined over the whole crop; then, if there are any,
                walked masks at the size of the crop, refined over the real image alone.
            class_idx: (B, M), see :func:`present_classes`.
            images: (B, 3, H, W) RGB.
            box: the real image (y0, y1, x0, x1) in each of them.
        """
        H, W = images.shape[2:]
        y0, y1, x0, x1 = box
        if y0 >= y1 or x0 >= x1:  # nothing but padding
            return [class_idx.new_full((len(images), H, W), 255) for _ in sets]
        sets = [sets[0], *(walked[..., y0:y1, x0:x1] for walked in sets[1:])]
        sizes = [(H, W), (y1 - y0, x1 - x0)]
        if self.refiner is not None:
            refine = self.refinement(images)
            if len(sets) == 1 or sizes[0] == sizes[1]:  # linear: one pass for all masks of an image
                sets = self.refiner.refine_sets(sets, refine.weights)
            else:
                inside = self.refinement(images[..., y0:y1, x0:x1])
                sets = [refine(sets[0]), inside(sets[1])]
        made = [
            label_of_two_scores(masks, class_idx, size)
            for masks, size in zip(sets, sizes, strict=False)
        ]
        padded = [F.pad(label, (x0, W - x1, y0, H - y1), value=255) for label in made[1:]]
        return [ignore_outside(made[0], [box] * len(images)), *padded]

    # ---- modes ----------------------------------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the losses of the current phase.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with ``gt_label`` (K,) and, for padded crops, ``img_box``.

        Returns:
            ``loss_cls`` and, after the first phase, ``loss_seg``, ``loss_aff``, ``loss_reg``.
        """
        labels = self.image_labels(data_samples)
        if self.phase == "cls":
            feats = self.backbone(inputs)
            return dict(loss_cls=self.cls_head.loss(self.cls_head(feats[-1]), labels))

        # Labels first: what the passes without gradient hold is gone before the one with gradient.
        # Without drop path that one comes first, as one of those that CAMs are made from.
        is_same = getattr(self.backbone, "drop_path_rate", None) == 0
        found = self._features(inputs) if is_same else None
        feat = None if found is None else found[0][-1].detach()
        H, W = inputs.shape[2:]
        boxes = [sample.metainfo.get("img_box", (0, H, 0, W)) for sample in data_samples]
        propagate = self.phase == "propagated" and self.has_walk
        num_present = self.num_present(data_samples)
        made = self.make_labels(inputs, labels, boxes, propagate, num_present, feat)
        seg_label = made["propagated"] if propagate else made["pseudo"]

        feats, attn = found or self._features(inputs)
        losses = dict(loss_cls=self.cls_head.loss(self.cls_head(feats[-1]), labels))
        seg_logits = self.decode_head(feats)
        losses["loss_seg"] = self.decode_head.loss_decode(
            self.resize_logits(seg_logits.float(), (H, W)), seg_label, ignore_index=255
        )
        if self.affinity_head is not None:
            from_seg = self.train_cfg.aff_label == "propagated"
            aff_label = affinity_label(
                seg_label if from_seg else made["pseudo"],
                feats[-1].shape[2:],
                self.train_cfg.radius,
            )
            losses["loss_aff"] = self.affinity_head.loss_aff(self.affinity_head(attn), aff_label)
        if self.loss_reg is not None:
            inside = ignore_outside(torch.zeros_like(seg_label), boxes) == 0
            losses["loss_reg"] = self.loss_reg(
                seg_logits, self.rgb_images(inputs), seg_label, inside
            )
        return losses

    def _features(self, inputs: Tensor) -> tuple[tuple[Tensor, ...], Attention | None]:
        """Features and, where an affinity head learns from it, attention."""
        if self.affinity_head is None:
            return self.backbone(inputs), None
        return self.backbone(inputs, **self._ask_attention())

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> dict[str, Tensor]:
        """Give the raw outputs of every head (``mode='tensor'``)."""
        feats, attn = self.backbone(inputs, with_attn=True)
        return dict(
            cls_logits=self.cls_head(feats[-1]),
            seg_logits=self.decode_head(feats),
            affinity=self.affinity(attn)
            if self.affinity_head is None
            else self.affinity_head(attn),
            cam=self.cls_head.class_maps(feats[-1]),
        )

    def training_view(self, inputs: Tensor, data_sample: SegDataSample) -> TrainingView:
        """Show CAMs, labels, attention and affinity of one image (1, 3, H, W)."""
        H, W = inputs.shape[2:]
        cls_logits, seg_logits = self.outputs(inputs)
        scores = cls_logits.sigmoid()[0]
        label = data_sample.get("gt_label", (scores > self.test_cfg.cls_thr).float())
        box = data_sample.metainfo.get("img_box", (0, H, 0, W))
        made = self.make_labels(inputs, label[None].to(inputs.device), [box], self.has_walk)
        labels = {"pseudo label": made["pseudo"][0]}
        if self.has_walk:
            labels["propagated label"] = made["propagated"][0]
        labels["prediction"] = self.resize_logits(seg_logits, (H, W)).argmax(1)[0]
        images = resize_images(inputs, self.train_cfg.propagation_scale)
        feats, attn = self.backbone(images, with_attn=True)
        attention = (attn[0].float() * self.backbone.head_dim**-0.5).softmax(-1).mean(0)
        attention /= attention.amax(dim=1, keepdim=True)
        maps = dict(attention=attention, affinity=self.affinity(attn)[0].float())
        untrained = ("propagated label", "prediction", "affinity") if self.phase == "cls" else ()
        grid = tuple(feats[-1].shape[2:])
        values = made["class_idx"][0] + 1  # 0 is the background
        return TrainingView(made["cams"][0], labels, maps, grid, values, untrained)


def _cut(box: Sequence[int], size: Sequence[int]) -> tuple[int, int, int, int]:
    """Cut a box (y0, y1, x0, x1) to a crop."""
    y0, y1, x0, x1 = (int(side) for side in box)
    return max(y0, 0), min(y1, size[0]), max(x0, 0), min(x1, size[1])

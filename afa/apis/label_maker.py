"""From a network input to label map, maps and counts of one image.

K foreground classes, C = K + 1, M classes that the image can have, T background scores, H W pixels
of the network's input, h w of the maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from afa.evaluation.confusion import confusion_matrix
from afa.models.segmentors.multi_scale_tta import segment
from afa.models.utils import (
    KINDS,
    cut_padding,
    labels_from_masks,
    merge_thresholds,
    present_classes,
    resize_strips,
)
from afa.models.utils.possible_labels import possible_labels

SEG = "seg"
ALL_KINDS = (*KINDS, SEG)
_SWEEP_CHUNK = 5  # background scores that go through PAR together


@dataclass(frozen=True)
class MapsOfImage:
    """What the network gives for one image.

    Args:
        class_idx: (1, M) foreground classes of the maps after the background.
        masks: for each background score (1, 1 + M, h, w), background first. One for ``'seg'``.
        align_corners: how ``masks`` are resized.
        cams: (1, M, h, w) in 0..1 of kind ``'cam'``, else None.
        make: gives the masks of further background scores, (1, T, 1 + M, h, w); None where there
            are no others.
        logits: whether ``masks`` are logits.
        exact: whether the maps that are kept are the first masks as they are, for a stage that
            goes on from there; else CAMs or shares in eight bits.
    """

    class_idx: Tensor
    masks: Sequence[Tensor]
    align_corners: bool = False
    cams: Tensor | None = None
    make: Any = None
    logits: bool = False
    exact: bool = False

    @property
    def labels(self) -> list[int]:
        """Label of each mask."""
        return [0, *(self.class_idx[0] + 1).tolist()]


class LabelMaker:
    """Make the maps of an image with any segmentor that has what the kind needs.

    Kinds ``'cam'``, ``'par'`` and ``'affinity'`` need ``map_kinds`` and ``map_maker(inputs,
    class_idx, kinds)``, which :class:`SoftMapsMixin` gives; kind ``'seg'`` needs mmseg's
    ``decode_head`` and ``encode_decode``; predicted classes need a ``predict`` that writes
    ``pred_label``, and ``test_cfg.cls_thr``.

    Args:
        model: The segmentor, in evaluation mode.
        kind: One of ``ALL_KINDS``.
        scores: Background score of the label maps, or a high and a low one; empty for ``'seg'``.
        source: Which classes an image can have: ``'image'`` for those of its image label,
            ``'predicted'``, or ``'all'``.
        label_thr: With ``'seg'`` and ``'all'``, the probability that a label must reach somewhere
            to be kept; labels that are the best of a pixel are kept in any case.

    Raises:
        ValueError: If the model cannot make the kind, or the rest does not fit it.
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str,
        scores: Sequence[float],
        source: str = "image",
        label_thr: float = 0.02,
    ) -> None:
        _check_model(model, kind, source)
        self.model = model
        self.kind = kind
        self.scores = tuple(scores)
        self.source = source
        self.label_thr = label_thr

    @torch.no_grad()
    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Run the network on one image.

        Args:
            packed: ``inputs`` (3, H, W) and ``data_samples`` of the test pipeline.
            image_label: (K,) 1 for each class of the image; used with source ``'image'``.
        """
        data = self.model.data_preprocessor(pseudo_collate([packed]), False)
        inputs, meta = data["inputs"], data["data_samples"][0].metainfo
        padding = meta.get("img_padding_size")
        classes = self._classes(inputs, image_label)
        if self.kind == SEG:
            return self._segment(inputs, meta, classes)

        class_idx = present_classes(classes)
        maker = self.model.map_maker(inputs, class_idx, (self.kind,))

        def make(scores: Sequence[float]) -> Tensor:
            masks = maker(self.kind, scores)[0]  # (T, 1 + M, h, w)
            return cut_padding(masks, inputs.shape[2:], padding)[None]

        cams = cut_padding(maker.cams, inputs.shape[2:], padding) if self.kind == "cam" else None
        return MapsOfImage(class_idx, list(make(self.scores).unbind(1)), False, cams, make)

    def _classes(self, inputs: Tensor, image_label: np.ndarray | None) -> Tensor:
        """Give the classes that the image can have, (1, K) multi-hot."""
        if self.source == "image":
            return torch.as_tensor(image_label, device=inputs.device)[None]
        if self.source == "predicted":
            scores = self.model.predict(inputs)[0].pred_label
            return (scores > self.model.test_cfg.cls_thr).float()[None]
        return torch.ones(1, self.model.num_classes - 1, device=inputs.device)

    def _segment(self, inputs: Tensor, meta: dict, classes: Tensor) -> MapsOfImage:
        """Logits of the segmentation head, of the classes that the image can have."""
        logits = segment(self.model, inputs, [meta])
        logits = cut_padding(logits, inputs.shape[2:], meta.get("img_padding_size"))
        if self.source == "all":
            kept = possible_labels(logits[0], self.label_thr)
        else:
            kept = torch.nonzero(torch.cat([classes.new_ones(1), classes[0]]))[:, 0]
        return MapsOfImage(
            kept[None, 1:] - 1, [logits[:, kept]], self.model.align_corners, logits=True
        )


def _check_model(model: nn.Module, kind: str, source: str) -> None:
    name = type(model).__name__
    if kind not in ALL_KINDS:
        raise ValueError(f"--kind must be one of {', '.join(ALL_KINDS)}, got '{kind}'.")
    has = [*getattr(model, "map_kinds", ()), *([SEG] if hasattr(model, "decode_head") else [])]
    if kind not in has:
        raise ValueError(
            f"This model ({name}) makes no '{kind}' labels: "
            + (f"choose --kind {' or '.join(has)}." if has else "it has neither CAMs nor a head.")
        )
    if source == "predicted" and not hasattr(model, "cls_head"):
        raise ValueError(f"This model ({name}) has no classifier that could predict image labels.")
    if source == "all" and kind != SEG:
        raise ValueError(f"--kind {kind} needs to know which classes an image can have.")


def label_map(
    maps: MapsOfImage, size: tuple[int, int], masks: Sequence[Tensor] | None = None
) -> Tensor:
    """Resize masks to the photo and take the best class of every pixel, strip by strip.

    Args:
        maps: of the image.
        size: Height and width of the photo.
        masks: Other masks of the image; by default those of ``maps``. Two give a label map with
            undecided pixels, see :func:`merge_thresholds`.

    Returns:
        (H, W) uint8.
    """
    masks = maps.masks if masks is None else masks
    label = torch.empty(size, dtype=torch.uint8, device=masks[0].device)
    resized = [resize_strips(one, size, maps.align_corners) for one in masks]
    for strips in zip(*resized, strict=True):
        y0, rows = strips[0][0], strips[0][1].shape[2]
        found = [labels_from_masks(strip, maps.class_idx) for _, strip in strips]
        best = found[0] if len(found) == 1 else merge_thresholds(*found)
        label[y0 : y0 + rows] = best[0].to(torch.uint8)
    return label


def sweep_counts(
    maps: MapsOfImage, scores: Sequence[float], truth: np.ndarray, num_classes: int
) -> Tensor:
    """Count the pixels of the label map at each background score.

    CAMs, PAR's weights and the affinity were computed once; a further score costs a softmax and its
    masks' way through PAR, which is linear, and the argmax at the size of the photo.

    Args:
        maps: of the image.
        scores: T background scores.
        truth: (H, W) uint8 mask.
        num_classes: C.

    Returns:
        (T, C, C + 1) int64 on CPU, see :func:`confusion_matrix`.
    """
    size, target = truth.shape, torch.from_numpy(truth)

    def masks() -> Iterator[Tensor]:
        for start in range(0, len(scores), _SWEEP_CHUNK):
            yield from maps.make(scores[start : start + _SWEEP_CHUNK]).unbind(1)

    return torch.stack(
        [confusion_matrix(label_map(maps, size, [one]), target, num_classes) for one in masks()]
    )


def shares(maps: MapsOfImage) -> Tensor:
    """Turn the first masks into shares (1 + M, h, w) that sum to 1 at every pixel."""
    masks = maps.masks[0][0]
    if maps.logits:
        return masks.softmax(dim=0)
    return masks / masks.sum(dim=0, keepdim=True).clamp(min=1e-8)

"""From a network's input, or from CAMs on disk, to the soft masks of one image.

K foreground classes, C = K + 1, M classes that the image can have, T background scores, P offsets
of an affinity, H W pixels of the network's input, h w of the maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from afa.evaluation.figures import confusion_matrix
from afa.files.crf import LABEL_THR
from afa.labels.folder import MapFolder
from afa.models.functional import SEG, cut_padding, power_background, present_classes
from afa.models.functional.photo_size import label_map, possible_labels
from afa.models.segmentors.base import check_makes, segment

_SWEEP_CHUNK = 5  # background scores that go through PAR together


@dataclass(frozen=True)
class MapsOfImage:
    """The masks of one image, and what can be made of them.

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
    make: Callable[[Sequence[float]], Tensor] | None = None
    logits: bool = False
    exact: bool = False

    @property
    def labels(self) -> list[int]:
        """Label of each mask."""
        return [0, *(self.class_idx[0] + 1).tolist()]

    def label_map(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize a mask to the photo and take the best class of every pixel, strip by strip.

        Args:
            mask: (1, 1 + M, h, w), one of ``masks`` or of what ``make`` gives.
            size: height and width of the photo.

        Returns:
            (H, W) uint8.
        """
        labels = torch.tensor(self.labels, dtype=torch.uint8, device=mask.device)
        return label_map(mask[0], size, self.align_corners, labels)[0]

    def sweep_counts(self, scores: Sequence[float], truth: np.ndarray, num_classes: int) -> Tensor:
        """Count the pixels of the label map at each background score.

        CAMs, PAR's weights and the affinity were computed once; a further score costs a softmax and
        its masks' way through PAR, which is linear, and the argmax at the size of the photo.

        Args:
            scores: T background scores.
            truth: (H, W) uint8 mask.
            num_classes: C.

        Returns:
            (T, C, C + 1) int64 on CPU, see :func:`confusion_matrix`.
        """
        assert self.make is not None, "there are background scores"
        target, counts = torch.from_numpy(truth), []
        for start in range(0, len(scores), _SWEEP_CHUNK):
            for mask in self.make(scores[start : start + _SWEEP_CHUNK]).unbind(1):
                label = self.label_map(mask, truth.shape)
                counts.append(confusion_matrix(label, target, num_classes))
        return torch.stack(counts)

    def to_keep(self) -> tuple[list[int], np.ndarray]:
        """Give labels and maps (m, h, w) for a later stage: CAMs, exact masks, or shares."""
        if self.cams is not None:  # they say more: a background score can still be chosen
            return self.labels[1:], self.cams[0].cpu().numpy()
        masks = self.masks[0][0]
        if self.logits:
            masks = masks.softmax(dim=0)
        elif not self.exact:
            masks = masks / masks.sum(dim=0, keepdim=True).clamp(min=1e-8)
        return self.labels, masks.cpu().numpy()


@dataclass(eq=False)
class MaskMaker(ABC):
    """What makes the masks of an image, of whatever origin.

    Args:
        scores: background score of the label maps, or two that leave pixels undecided; empty where
            the background has none.
        classes_from: which classes an image can have: ``'image'`` for those of its image label,
            ``'predicted'``, ``'all'``, or ``'maps'`` for those of the maps on disk.
        true_image_labels: whether they are of true image labels; None where that is not known.
        statement: a sentence for people that says so.
    """

    score_name: ClassVar[str] = "background score"
    scores: Sequence[float]
    classes_from: str
    true_image_labels: bool | None
    statement: str

    def add_scores(self, scores: Sequence[float]) -> None:
        """Prepare for more background scores of a sweep, where that has to be known before."""
        del scores

    @abstractmethod
    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Make the masks of an image.

        Args:
            packed: ``inputs`` (3, H, W) and ``data_samples`` of the test pipeline.
            image_label: (K,) 1 for each class of the image; used with ``classes_from='image'``.
        """


class NetworkMasks(MaskMaker):
    """Make masks with any segmentor that has what the kind needs.

    Kinds ``'cam'``, ``'par'`` and ``'propagated'`` need ``map_kinds`` and ``map_maker(inputs,
    class_idx, kinds)``, which :class:`WSSSSegmentor` gives; kind ``'seg'`` needs mmseg's
    ``decode_head`` and ``encode_decode``; predicted classes need a ``predict`` that writes
    ``pred_label``, and ``test_cfg.cls_thr``.

    Args:
        model: the segmentor, in evaluation mode.
        kind: one of ``afa.models.functional.ALL_KINDS``.
        scores: background score of the label maps, or a high and a low one; empty for ``'seg'``.
        classes_from: ``'image'``, ``'predicted'`` or ``'all'``.
        label_thr: with ``'seg'`` and ``'all'``, the probability that a label must reach somewhere
            to be kept; labels that are the best of a pixel are kept in any case.

    Raises:
        ValueError: if the model cannot make the kind, or the rest does not fit it.
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str,
        scores: Sequence[float],
        classes_from: str = "image",
        label_thr: float = LABEL_THR,
    ) -> None:
        _check_model(model, kind, classes_from)
        cls_thr = getattr(model.test_cfg, "cls_thr", 0.5)
        statements = dict(
            image="True image labels WERE used: a label map holds only classes that its image "
            "really has, so that figures do not compare with those of a prediction.",
            predicted="True image labels were NOT used: a label map holds classes that the "
            f"classifier predicts (probability above {cls_thr:g}).",
            all="True image labels were NOT used: any class may appear.",
        )
        super().__init__(scores, classes_from, classes_from == "image", statements[classes_from])
        self.model = model
        self.kind = kind
        self.label_thr = label_thr
        self.cls_thr = cls_thr

    @torch.no_grad()
    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Run the network on one image."""
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
        return MapsOfImage(class_idx, make(self.scores).unbind(1), False, cams, make)

    def _classes(self, inputs: Tensor, image_label: np.ndarray | None) -> Tensor:
        """Give the classes that the image can have, (1, K) multi-hot."""
        if self.classes_from == "image":
            return torch.as_tensor(image_label, device=inputs.device)[None]
        if self.classes_from == "predicted":
            scores = self.model.predict(inputs)[0].pred_label
            return (scores > self.cls_thr).float()[None]
        return torch.ones(1, self.model.num_classes - 1, device=inputs.device)

    def _segment(self, inputs: Tensor, meta: dict, classes: Tensor) -> MapsOfImage:
        """Logits of the segmentation head, of the classes that the image can have."""
        logits = segment(self.model, inputs, [meta])
        logits = cut_padding(logits, inputs.shape[2:], meta.get("img_padding_size"))
        if self.classes_from == "all":
            kept = possible_labels(logits[0], self.label_thr)
        else:
            kept = torch.nonzero(torch.cat([classes.new_ones(1), classes[0]]))[:, 0]
        return MapsOfImage(
            kept[None, 1:] - 1, [logits[:, kept]], self.model.align_corners, logits=True
        )


def _check_model(model: nn.Module, kind: str, classes_from: str) -> None:
    name = type(model).__name__
    check_makes(model, kind)
    if classes_from == "predicted" and not hasattr(model, "cls_head"):
        raise ValueError(f"This model ({name}) has no classifier that could predict image labels.")
    if classes_from == "all" and kind != SEG:
        raise ValueError(f"--kind {kind} needs to know which classes an image can have.")


class MapMasks(MaskMaker):
    """What all makers share that read maps from disk; ``scores`` are exponents of the background.

    Args:
        cams: the CAMs.
        alphas: exponent of the background of the label maps, or two.
        num_classes: C, with the background.
    """

    score_name = "alpha"

    def __init__(self, cams: MapFolder, alphas: Sequence[float], num_classes: int) -> None:
        classes = cams.settings.get("classes")
        true = None if classes is None else str(classes).startswith("true")
        known = {True: "true image labels", False: "predicted image labels", None: "not known"}
        statement = f"Label maps hold the classes of the CAMs ({known[true]})."
        super().__init__(alphas, "maps", true, statement)
        self.cams = cams
        self.num_classes = num_classes

    def _read(self, packed: dict[str, Any], maps: MapFolder) -> tuple[Tensor, Tensor]:
        """Read the maps of a photo that a test pipeline has packed.

        Returns:
            (1, M) foreground classes 0..K-1, -1 for the background, and (1, M, h, w) maps in 0..1.
        """
        meta = packed["data_samples"].metainfo
        img_id = meta.get("img_id", Path(meta["img_path"]).stem)
        found = maps.read(img_id, meta["ori_shape"][:2], self.num_classes)
        class_idx = torch.tensor([found.classes], dtype=torch.int64) - 1
        return class_idx, torch.from_numpy(found.maps)[None]


class CAMBackgrounds(MapMasks):
    """Put a background on top of the CAMs of an image, (1 - max CAM)^alpha.

    Ahn and Kwak, CVPR 2018, section 3.2.2: with a low exponent the background is strong, and what
    remains foreground is sure; with a high one it is weak, and what is background is sure. The
    exponents are 4 and 24 in the paper, 4 and 32 in the released program.
    """

    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image, those of the low exponent first."""
        class_idx, cams = self._read(packed, self.cams)

        def make(alphas: Sequence[float]) -> Tensor:
            masks = [torch.cat([power_background(cams, a), cams], dim=1) for a in alphas]
            return torch.stack(masks, dim=1)

        return MapsOfImage(class_idx, make(self.scores).unbind(1), make=make)


class RandomWalkMasks(MapMasks):
    """Spread the CAMs of an image along its affinity.

    Ahn and Kwak, CVPR 2018, section 3.3: CAMs and the background (1 - max)^alpha, averaged over the
    cells of the affinity's grid, take t steps along the learned affinity. Different from the
    authors' program: it pads the photo to a multiple of the stride; here the grid of an uneven
    photo has a cell more, and nothing is padded.

    Args:
        cams, alphas, num_classes: see :class:`MapMasks`; one exponent.
        model: has ``affinity(inputs)`` and ``propagate(maps, affinity)``, as
            :class:`afa.models.segmentors.AffinityNet`; in evaluation mode.
        sweep: further exponents; their backgrounds take the same walk.
    """

    def __init__(
        self,
        cams: MapFolder,
        alphas: Sequence[float],
        num_classes: int,
        model: nn.Module,
        sweep: Sequence[float] = (),
    ) -> None:
        super().__init__(cams, alphas, num_classes)
        self.model = model
        self.alphas = list(alphas)
        self.add_scores(sweep)

    def add_scores(self, scores: Sequence[float]) -> None:
        """Let further exponents take the walk."""
        self.alphas += [alpha for alpha in scores if alpha not in self.alphas]

    @torch.no_grad()
    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image after the walk."""
        class_idx, cams = self._read(packed, self.cams)
        data = self.model.data_preprocessor(pseudo_collate([packed]), False)
        meta = data["data_samples"][0].metainfo
        if any(meta.get("img_padding_size") or ()):
            raise ValueError(
                "The random walk needs photos without padding: take size, size_divisor and "
                "test_cfg out of model.data_preprocessor, or give it no test_cfg."
            )
        affinity = self.model.affinity(data["inputs"])  # (1, P, h, w)
        class_idx, cams = class_idx.to(affinity.device), cams.to(affinity.device)
        backgrounds = [power_background(cams, alpha) for alpha in self.alphas]
        grid = F.interpolate(
            torch.cat([*backgrounds, cams], dim=1), size=affinity.shape[2:], mode="area"
        )
        walked = self.model.propagate(grid, affinity)  # (1, T + M, h, w): maps walk apart
        own, others = walked.split([len(self.alphas), cams.shape[1]], dim=1)

        def make(alphas: Sequence[float]) -> Tensor:
            kept = own[:, [self.alphas.index(alpha) for alpha in alphas], None]
            others_each = others[:, None].expand(-1, len(alphas), -1, -1, -1)
            return torch.cat([kept, others_each], dim=2)  # (1, T, 1 + M, h, w)

        return MapsOfImage(class_idx, make(self.scores).unbind(1), make=make, exact=True)


class WalkedMasks(MapMasks):
    """Read the masks of an image that :class:`RandomWalkMasks` has made in an earlier call.

    Args:
        cams, alphas, num_classes: see :class:`MapMasks`; CAMs and exponent of the earlier call.
        walked: the maps after the walk.
    """

    def __init__(
        self, cams: MapFolder, alphas: Sequence[float], num_classes: int, walked: MapFolder
    ) -> None:
        super().__init__(cams, alphas, num_classes)
        self.walked = walked

    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image."""
        labels, masks = self._read(packed, self.walked)
        return MapsOfImage(labels[:, 1:], [masks])

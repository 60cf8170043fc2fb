"""What a model makes of one photo, kept so that labels of other thresholds need no second run.

K foreground classes, M of them with maps, h w pixels of the network's input, H W of the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from afa.apis.inference import changed_test_cfg, photo_inputs
from afa.models.functional import SEG, SoftMaps, cut_padding, label_of_masks
from afa.models.segmentors.base import check_makes, label_kinds, segment, write_result

MAX_CLASSES = 20  # with maps: those with the highest scores, for COCO's 80 would take 130 MB
MAX_INPUT_PIXELS = 640 * 640  # the affinity grows with its square: 52 MB at scale 1.5


@dataclass(frozen=True, eq=False)
class PhotoMaps:
    """Give label maps of any thresholds, CAMs and affinities of one photo.

    Args:
        model: what made them.
        size: height and width of the photo.
        inputs_size: height and width of the network's input.
        padding: what of it is padding, see :func:`cut_padding`.
        segmentation: (H, W) uint8 labels; None of a model that does not segment.
        scores: (K,) probabilities; None of a model that does not classify.
        maps: CAMs, refinement and random walk of the M classes; None of a model without CAMs.
    """

    model: nn.Module
    size: tuple[int, int]
    inputs_size: tuple[int, int]
    padding: tuple[int, ...] | None
    segmentation: np.ndarray | None
    scores: Tensor | None
    maps: SoftMaps | None

    @property
    def classes(self) -> list[int]:
        """Foreground classes 0..K-1 that have maps, the highest score first."""
        if self.maps is None or self.scores is None:
            return []
        scores = self.scores.tolist()
        return sorted(self.maps.class_idx[0].tolist(), key=lambda cls: -scores[cls])

    @property
    def num_bytes(self) -> int:
        """Memory that the maps take."""
        maps, arrays = self.maps, []
        if maps is not None:
            arrays += [maps.cams, maps.refine and maps.refine.weights]
            arrays += [maps.walk and maps.walk.affinity]
        return sum(array.nbytes for array in [self.segmentation, *arrays] if array is not None)

    @torch.no_grad()
    def label(
        self, kind: str, bkg_thr: float, cls_thr: float, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Make a label map.

        Args:
            kind: ``'seg'``, which has no thresholds, ``'cam'``, ``'par'`` or ``'propagated'``.
            bkg_thr: background score of the labels from CAMs, 0..1.
            cls_thr: only classes with a higher score have labels from CAMs, 0..1.
            size: height and width; None for those of the photo.

        Returns:
            (H, W) uint8: 0 background, 1..K foreground.

        Raises:
            ValueError: if the model does not make the kind.
        """
        check_makes(self.model, kind)
        if kind == SEG:
            assert self.segmentation is not None, "the model segments"
            return _nearest(self.segmentation, size or self.size)
        assert self.maps is not None and self.scores is not None, "the model makes CAMs"
        chosen = self.scores[self.maps.class_idx[0]] > cls_thr
        class_idx = self.maps.class_idx[:, chosen]
        some = SoftMaps(self.maps.cams[:, chosen], class_idx, self.maps.refine, self.maps.walk)
        masks = self._without_padding(some(kind, [bkg_thr])[:, 0])
        label = label_of_masks(masks, class_idx, size or self.size)
        return label[0].to(torch.uint8).cpu().numpy()

    def cam(self, cls: int) -> np.ndarray:
        """Give the CAM (h, w) in 0..1 of a foreground class, one of ``classes``.

        Raises:
            ValueError: if the class has none.
        """
        if self.maps is None or cls not in self.classes:
            raise ValueError("This class has no CAM: choose one of the list.")
        place = self.maps.class_idx[0].tolist().index(cls)
        return self._without_padding(self.maps.cams[:, [place]])[0, 0].cpu().numpy()

    @torch.no_grad()
    def affinity(self, y: float, x: float) -> np.ndarray:
        """Give the affinity of the token at a point to all others.

        Args:
            y: the point, as share 0..1 of the height of the photo.
            x: as share of its width.

        Returns:
            (h', w') in 0..1: the token grid, or the input's size where padding was cut off.

        Raises:
            ValueError: if the model spreads no labels along an affinity.
        """
        walk = None if self.maps is None else self.maps.walk
        if walk is None:
            raise ValueError("This model learns no affinity: take one of AFA.")
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        H, W = self.inputs_size
        h, w = walk.grid
        row = int((top + y * (H - top - bottom)) / H * h)
        column = int((left + x * (W - left - right)) / W * w)
        token = min(row, h - 1) * w + min(column, w - 1)
        values = walk.affinity[:, token].float().view(1, 1, h, w)
        return self._without_padding(values)[0, 0].cpu().numpy()

    def _without_padding(self, maps: Tensor) -> Tensor:
        return cut_padding(maps, self.inputs_size, self.padding)


def _nearest(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a label map (H, W) to a size, without new values."""
    if label.shape == size:
        return label
    found = nn.functional.interpolate(torch.from_numpy(label)[None, None], size, mode="nearest")
    return found[0, 0].numpy()


@torch.no_grad()
def map_photo(model: nn.Module, image: np.ndarray, max_pixels: int = MAX_INPUT_PIXELS) -> PhotoMaps:
    """Run a model on a photo, once for everything that it makes.

    Args:
        model: what :func:`init_model` gave.
        image: (H, W, 3) uint8 BGR.
        max_pixels: a larger network input is reduced to this, so that the maps can be kept.

    Returns:
        The maps, on the device of the model.

    Raises:
        ValueError: if the model makes no label maps.
    """
    if not label_kinds(model):
        raise ValueError(
            f"{type(model).__name__} makes no label maps: take a model that segments, or that has "
            "CAMs."
        )
    data = photo_inputs(model, image, max_pixels=max_pixels)
    inputs, samples = data["inputs"], data["data_samples"]
    size = (inputs.shape[2], inputs.shape[3])
    scores = maps = None
    if hasattr(model, "map_maker"):
        with changed_test_cfg(model, pseudo_labels=False):
            result = model.predict(inputs, samples)[0]
        scores = result.pred_label.float()
        best = scores.topk(min(MAX_CLASSES, len(scores))).indices.sort().values
        maps = model.map_maker(inputs, best[None], model.map_kinds)
    else:  # mmseg's own predict would resize all logits to the photo
        logits = segment(model, inputs, [dict(sample.metainfo) for sample in samples])
        result = write_result(logits, samples, model.align_corners, size=size)[0]
    segmentation = None
    if "pred_sem_seg" in result:
        segmentation = result.pred_sem_seg.data[0].to(torch.uint8).cpu().numpy()
    padding = result.metainfo.get("img_padding_size")
    return PhotoMaps(model, image.shape[:2], size, padding, segmentation, scores, maps)

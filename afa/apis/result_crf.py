"""The dense CRF on one result, for prediction; :class:`CRFTestLoop` does the same on a whole set.

C classes, h w pixels of the network's input, H W of the photo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from afa.files.crf import LABEL_THR, MAX_SIDE, crf_of_logits, crf_photo
from afa.models.functional.photo_size import label_map, possible_labels
from afa.models.segmentors.afa_cfg import AFATestCfg


@contextmanager
def keeping_logits(model: nn.Module) -> Iterator[None]:
    """Let the results of a model carry ``seg_logits``; those of mmseg's models always do."""
    given: Any = model.test_cfg
    if isinstance(given, AFATestCfg) and given.seg_logits is None:
        model.test_cfg = dataclasses.replace(given, seg_logits="head")
    try:
        yield
    finally:
        model.test_cfg = given


def add_crf(model: nn.Module, image: np.ndarray, result: SegDataSample) -> None:
    """Sharpen a segmentation along the colours of its photo, as ``pred_crf`` (1, H, W).

    Only the labels that the photo can have enter. A photo above ``test_cfg.crf.max_side`` is
    reduced to it, and the probabilities are resized.

    Args:
        model: the model, whose ``test_cfg.crf`` may hold the arguments of :class:`DenseCRF`,
            ``label_thr`` and ``max_side``.
        image: (H, W, 3) uint8 BGR.
        result: with ``seg_logits`` (C, h, w); changed in place.

    Raises:
        ValueError: if the model does not segment, a setting is wrong, or pydensecrf is missing.
    """
    if "seg_logits" not in result:
        raise ValueError(
            f"The CRF sharpens a segmentation; {type(model).__name__} makes none: do without it."
        )
    settings = dict(getattr(model.test_cfg, "crf", None) or {})
    label_thr = settings.pop("label_thr", LABEL_THR)
    max_side = settings.pop("max_side", MAX_SIDE)
    crf = MODELS.build({"type": "DenseCRF", **settings})
    logits = result.seg_logits.data.float()
    labels = possible_labels(logits, label_thr)
    photo = crf_photo(image, max_side)
    some = logits[labels].cpu().numpy()
    probs = torch.from_numpy(crf_of_logits(photo, some, with_probs=True, **crf.settings))
    label = labels.cpu()[label_map(probs, image.shape[:2])].to(logits.device)
    result.set_data(dict(pred_crf=PixelData(data=label)))
    if getattr(model.test_cfg, "seg_logits", "always") is None:
        del result.seg_logits

"""From segmentation logits to what a data sample carries, without the size of the photo in memory.

B images, C classes, h w pixels of the logits, H W of the photo. mmseg resizes all logits to the
network's input and then to the photo, (C, H, W); here they are resized once, as in the AFA program,
and only a label map is ever made of that size.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional.strips import cut_padding, resize_strips

SEG_LOGITS = (None, "head", "full")


def label_map(
    logits: Tensor,
    size: tuple[int, int],
    align_corners: bool = False,
    labels: Tensor | None = None,
) -> Tensor:
    """Resize logits and take the best class of every pixel, strip by strip.

    Args:
        logits: (C, h, w).
        size: height and width of the label map.
        align_corners: as in ``F.interpolate``.
        labels: (C,) label of each class, of any integer type; None for 0..C-1.

    Returns:
        (1, H, W) int64, or of the type of ``labels``.
    """
    dtype = torch.int64 if labels is None else labels.dtype
    label = torch.empty((1, *size), dtype=dtype, device=logits.device)
    for y0, strip in resize_strips(logits[None], size, align_corners):
        best = strip.max(dim=1).indices  # faster than argmax on CPU
        label[:, y0 : y0 + strip.shape[2]] = best if labels is None else labels[best]
    return label


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

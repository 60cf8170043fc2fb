"""From segmentation logits to what a data sample carries, without the size of the photo in memory.

B images, C classes, h w pixels of the network's input, H W of the photo. mmseg resizes all logits
to the photo, (C, H, W); here only a label map is ever made of that size.
"""

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.utils.strips import resize_strips

SEG_LOGITS = (None, "input", "full")


def label_map(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Resize logits and take the best class of every pixel, strip by strip.

    Args:
        logits: (C, h, w).
        size: height and width of the label map.
        align_corners: as in ``F.interpolate``.

    Returns:
        (1, H, W) int64.
    """
    label = torch.empty((1, *size), dtype=torch.int64, device=logits.device)
    for y0, strip in resize_strips(logits[None], size, align_corners):
        label[:, y0 : y0 + strip.shape[2]] = strip.max(dim=1).indices  # faster than argmax on CPU
    return label


def write_result(
    seg_logits: Tensor,
    data_samples: list[SegDataSample] | None = None,
    align_corners: bool = False,
    keep: str | None = None,
) -> list[SegDataSample]:
    """Write the segmentation into data samples, at the size of the photos.

    Padding is cut away, and a mirrored input is mirrored back, as mmseg does.

    Args:
        seg_logits: (B, C, h, w) at the size of the network's input.
        data_samples: with their metainfo; None for new ones, at the size of the input.
        align_corners: as in ``F.interpolate``.
        keep: whether ``seg_logits`` is written too: None, ``'input'`` for (C, h', w') at the size
            of the input without its padding, or ``'full'`` for (C, H, W).

    Returns:
        The data samples with ``pred_sem_seg`` (1, H, W) int64.
    """
    h, w = seg_logits.shape[2:]
    if data_samples is None:
        data_samples = [SegDataSample(metainfo=dict(ori_shape=(h, w))) for _ in seg_logits]
    for logits, sample in zip(seg_logits, data_samples, strict=True):
        meta = sample.metainfo
        padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
        left, right, top, bottom = padding
        logits = logits[:, top : h - bottom, left : w - right]
        if meta.get("flip"):
            logits = logits.flip(2 if meta.get("flip_direction") == "horizontal" else 1)
        height, width = meta.get("ori_shape", logits.shape[1:])[:2]
        if keep == "full":
            logits = F.interpolate(
                logits[None], (height, width), mode="bilinear", align_corners=align_corners
            )[0]
        label = label_map(logits, (height, width), align_corners)
        sample.set_data(dict(pred_sem_seg=PixelData(data=label)))
        if keep is not None:
            sample.set_data(dict(seg_logits=PixelData(data=logits)))
    return data_samples

"""Maps, logits and label maps at the size of a photo, however large it is.

B images, C maps or classes, h w pixels of the maps, H W of the photo. 21 maps at 10,000 x 10,000
pixels are 8.4 GB; strips of rows hold a fixed share of them at a time.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ELEMENTS = 2**25  # 128 MiB of float32


def resize_strips(
    maps: Tensor, size: Sequence[int], align_corners: bool = False, max_elements: int = MAX_ELEMENTS
) -> Iterator[tuple[int, Tensor]]:
    """Resize maps bilinearly, one strip of rows after the other.

    Where the result is small enough it comes as one strip and is that of ``F.interpolate``, bit
    for bit; otherwise it differs by rounding.

    Args:
        maps: (B, C, h, w) float.
        size: height H and width W to resize to.
        align_corners: as in ``F.interpolate``.
        max_elements: a strip has at most this many numbers, but at least one row.

    Yields:
        The first row y0 of the strip and the strip (B, C, rows, W).
    """
    H, W = (int(side) for side in size)
    B, C, h, _ = maps.shape
    rows = max(1, max_elements // max(1, B * C * W))
    if rows >= H:
        yield 0, F.interpolate(maps, size=(H, W), mode="bilinear", align_corners=align_corners)
        return
    scale = (h - 1) / (H - 1) if align_corners else h / H  # more than one strip: H > 1
    for y0 in range(0, H, rows):
        y = torch.arange(y0, min(y0 + rows, H), dtype=torch.float64)
        source = y * scale if align_corners else ((y + 0.5) * scale - 0.5).clamp(min=0)
        above = source.floor().long().clamp(max=h - 1)
        below = (above + 1).clamp(max=h - 1)
        share = (source - above).to(maps).view(-1, 1)
        above, below = above.to(maps.device), below.to(maps.device)
        strip = torch.lerp(maps[:, :, above], maps[:, :, below], share)
        # The rows are at their places: only the width is left to resize.
        yield y0, F.interpolate(strip, (len(y), W), mode="bilinear", align_corners=align_corners)


def cut_padding(maps: Tensor, size: Sequence[int], padding: Sequence[int] | None) -> Tensor:
    """Cut away what the preprocessor padded around a test image.

    Args:
        maps: (B, C, h, w) over the whole network input.
        size: height H and width W of the network input.
        padding: pixels at the left, right, top and bottom (``img_padding_size`` of mmseg); None
            for none.

    Returns:
        The maps themselves without padding, else (B, C, H', W') at the resolution of the input.
    """
    if not padding or not any(padding):
        return maps
    maps = F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    left, right, top, bottom = padding
    return maps[..., top : maps.shape[2] - bottom, left : maps.shape[3] - right]


def label_map(
    logits: Tensor, size: tuple[int, int], align_corners: bool = False, labels: Tensor | None = None
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


def possible_labels(logits: Tensor, thr: float) -> Tensor:
    """List the labels that a segmentation does not rule out.

    Args:
        logits: (C, h, w).
        thr: probability that a label reaches somewhere; 0 keeps all labels.

    Returns:
        (L,) int64 in ascending order: the background, every label that is the best of some pixel,
        and every label whose probability reaches ``thr`` at some pixel.
    """
    keep = logits.softmax(dim=0).amax(dim=(1, 2)) >= thr
    keep[logits.max(dim=0).indices.unique()] = True
    keep[0] = True
    return torch.nonzero(keep)[:, 0]

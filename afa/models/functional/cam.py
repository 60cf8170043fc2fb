"""Class activation maps: from features to normalised maps of the present classes.

B images, K foreground classes, M the largest number of present classes in the batch, H W pixels,
h w tokens.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016; by default the
scales, the mirror and the normalisation are those of AFA (Ru et al., CVPR 2022), section 3.1; those
of AffinityNet (Ahn & Kwak, CVPR 2018) are `mirror='sum'` and `subtract_min=False`. Different from
the AFA program: only the encoder runs, and only present classes are resized and summed.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MIRRORS = ("max", "sum")


def present_classes(labels: Tensor, num_present: int | None = None) -> Tensor:
    """List the classes that each image has.

    Args:
        labels: (B, K) multi-hot image labels.
        num_present: M, where it is known; reading it from labels on a GPU would wait for the GPU.

    Returns:
        (B, M) int64 foreground class indices 0..K-1 in ascending order, -1 where an image has
        fewer than M classes. M is 0 when no image has any class.
    """
    present = labels > 0
    if num_present is None:
        num_present = int(present.sum(1).max()) if present.numel() else 0
    order = present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :num_present]
    return order.masked_fill(~present.gather(1, order), -1)


def pack_present(cams: Tensor, class_idx: Tensor) -> Tensor:
    """Keep the maps of the present classes only.

    Args:
        cams: (B, K, h, w) maps of all classes.
        class_idx: (B, M) as :func:`present_classes` gives it.

    Returns:
        (B, M, h, w); maps at places where ``class_idx`` is -1 are 0.
    """
    B, M = class_idx.shape
    index = class_idx.clamp(min=0).view(B, M, 1, 1).expand(-1, -1, *cams.shape[2:])
    return cams.gather(1, index) * (class_idx >= 0).view(B, M, 1, 1)


def normalize_cams(cams: Tensor, eps: float = 1e-5, subtract_min: bool = True) -> Tensor:
    """Bring every map to 0..1: subtract its minimum, then divide by its maximum.

    Args:
        cams: (B, M, H, W) non-negative maps.
        eps: added to the maximum, so that an empty map stays 0.
        subtract_min: False to divide by the maximum only (AffinityNet), so that a class that is
            seen everywhere keeps its score everywhere.

    Returns:
        (B, M, H, W) in [0, 1).
    """
    if subtract_min:
        cams = cams - cams.amin(dim=(2, 3), keepdim=True)
    return cams / (cams.amax(dim=(2, 3), keepdim=True) + eps)


def scale_size(
    size: Sequence[int], scale: float, rounding: Callable[[float], int] = math.floor
) -> tuple[int, int]:
    """Return ``size`` times ``scale`` in whole pixels, at least one a side.

    The AFA program cuts down, that of AffinityNet rounds.
    """
    height, width = (max(1, rounding(side * scale)) for side in size)
    return height, width


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, M, h, w) maps bilinearly, corners not aligned; their own size gives themselves."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    if maps.shape[1] == 0:  # no class at all; F.interpolate refuses
        return maps.new_zeros((len(maps), 0, *size))
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def resize_images(
    images: Tensor, scale: float, rounding: Callable[[float], int] = math.floor
) -> Tensor:
    """Resize images bilinearly by a factor; factor 1 gives the images themselves."""
    return resize_maps(images, scale_size(images.shape[2:], scale, rounding))


def multi_scale_cams(
    class_maps: Callable[[Tensor, float], Tensor],
    images: Tensor,
    class_idx: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
    mirror: str = "max",
    subtract_min: bool = True,
    mirror_scales: Sequence[float] | None = None,
) -> Tensor:
    """Compute the CAMs of the present classes over scales and mirror images.

    At each scale the maps of the image and of its mirror image are resized to the image; then the
    maximum over the two, then ReLU. The sum over scales is normalised to 0..1 (see
    :func:`normalize_cams`). The order matters: what comes before the resize is blurred by it, so
    that a maximum or a ReLU there gives higher maps.

    Args:
        class_maps: gives raw class maps (2B, K, h, w) for images (2B, 3, H', W') and their scale;
            the second half of the batch holds the mirror images of the first. At scales without
            mirror image (B, K, h, w) for (B, 3, H', W').
        images: (B, 3, H, W) network inputs.
        class_idx: (B, M) as :func:`present_classes` gives it.
        scales: factors of the input size.
        mirror: ``'max'`` (AFA), or ``'sum'`` of both after ReLU, which AffinityNet's program
            takes before the resize; its scaled images have rounded sides, AFA's are cut down.
        subtract_min: as in :func:`normalize_cams`.
        mirror_scales: scales at which mirror images are used (with ``'max'``); None for all.

    Returns:
        (B, M, H, W) float32 in [0, 1).

    Raises:
        ValueError: if ``mirror`` is unknown.
    """
    if mirror not in MIRRORS:
        raise ValueError(f"mirror must be one of {MIRRORS}, got {mirror!r}")
    total = images.new_zeros((*class_idx.shape, *images.shape[2:]), dtype=torch.float32)
    if class_idx.shape[1] == 0:
        return total
    size, rounding = images.shape[2:], round if mirror == "sum" else math.floor
    for scale in scales:
        scaled = resize_images(images, scale, rounding)
        if mirror_scales is not None and scale not in mirror_scales:
            plain = pack_present(class_maps(scaled, scale).float(), class_idx)
            total += resize_maps(plain, size).relu_()
            continue
        raw, mirrored = class_maps(torch.cat([scaled, scaled.flip(3)]), scale).float().chunk(2)
        plain, back = pack_present(raw, class_idx), pack_present(mirrored.flip(3), class_idx)
        if mirror == "max":
            total += torch.maximum(resize_maps(plain, size), resize_maps(back, size)).relu_()
        else:
            total += resize_maps(plain.relu() + back.relu(), size)
    return normalize_cams(total, subtract_min=subtract_min)

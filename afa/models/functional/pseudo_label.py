"""From CAMs to label maps: background scores, softmax, refinement, two thresholds.

AFA (Ru et al., CVPR 2022), sections 3.3 and 3.4. B images, M present classes at most, T background
scores, H W pixels. Different from the AFA program: both thresholds are refined in one pass, because
refinement is linear in the maps and its weights depend on the image alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afa.models.functional.cam import resize_maps
from afa.models.functional.photo_size import resize_strips


def soft_masks(cams: Tensor, class_idx: Tensor, bkg_score: float) -> Tensor:
    """Stack a constant background score on the CAMs and take the softmax over present classes.

    Args:
        cams: (B, M, H, W) in 0..1.
        class_idx: (B, M) foreground classes 0..K-1, -1 for none.
        bkg_score: score of the background in 0..1; 0 for none: every pixel of an image that has a
            class gets one.

    Returns:
        (B, 1 + M, H, W) probabilities, background first; 0 where ``class_idx`` is -1.
    """
    scores = F.pad(cams, (0, 0, 0, 0, 1, 0), value=bkg_score)
    absent = F.pad(class_idx < 0, (1, 0), value=False)
    if bkg_score == 0:
        absent[:, 0] = (class_idx >= 0).any(dim=1)
    return scores.masked_fill(absent[:, :, None, None], float("-inf")).softmax(dim=1)


def stacked_masks(
    cams: Tensor, class_idx: Tensor, bkg_scores: Sequence[float], size: Sequence[int] | None = None
) -> Tensor:
    """Stack the :func:`soft_masks` of several background scores.

    Args:
        cams: (B, M, H, W) in 0..1.
        class_idx: (B, M) foreground classes 0..K-1, -1 for none.
        bkg_scores: T background scores in 0..1.
        size: height h and width w that the CAMs are resized to *before* the softmax, as in the AFA
            program; None to leave them. Softmax is not linear: behind the resize it gives others.

    Returns:
        (B, T * (1 + M), h, w).
    """
    cams = cams if size is None else resize_maps(cams, size)
    return torch.cat([soft_masks(cams, class_idx, score) for score in bkg_scores], dim=1)


def power_background(cams: Tensor, alpha: float) -> Tensor:
    """Score the background by what the CAMs leave, (1 - max over classes) to the power alpha.

    AffinityNet (Ahn and Kwak, CVPR 2018): a low alpha makes much background, so that what remains
    foreground is sure; a high one little, so that what is background is sure.

    Args:
        cams: (B, M, H, W) in 0..1, 0 for a class that is not there; M may be 0.
        alpha: exponent, above 0. In the paper 4, 16 and 24; in the released program 4, 16 and 32.

    Returns:
        (B, 1, H, W) in 0..1, 1 where an image has no class.

    Raises:
        ValueError: if alpha is not above 0.
    """
    if alpha <= 0:
        raise ValueError(f"alpha, the exponent of the background, must be above 0, got {alpha}")
    best = F.pad(cams, (0, 0, 0, 0, 1, 0)).amax(dim=1, keepdim=True)
    return (1 - best).clamp(min=0) ** alpha


def labels_from_masks(masks: Tensor, class_idx: Tensor) -> Tensor:
    """Take the class with the largest mask at each pixel.

    Args:
        masks: (B, 1 + M, H, W), background first.
        class_idx: (B, M) foreground classes 0..K-1, -1 for none.

    Returns:
        (B, H, W) int64 labels: 0 background, 1..K foreground.
    """
    labels = F.pad(class_idx.clamp(min=-1) + 1, (1, 0), value=0)
    absent = F.pad(class_idx < 0, (1, 0), value=False)
    masks = masks.masked_fill(absent[:, :, None, None], float("-inf"))
    best = masks.max(dim=1).indices  # on CPU up to nine times as fast as argmax
    return labels.gather(1, best.flatten(1)).view_as(best)


def merge_thresholds(label_high: Tensor, label_low: Tensor, ignore_index: int = 255) -> Tensor:
    """Combine the labels of a high and of a low background score.

    Foreground where the high score still gives foreground, background where both give
    background, ``ignore_index`` elsewhere.

    Args:
        label_high: (B, H, W) labels made with the high background score.
        label_low: (B, H, W) labels made with the low background score.
        ignore_index: label of undecided pixels.

    Returns:
        (B, H, W) int64.
    """
    undecided = (label_high == 0) & (label_low != 0)
    return label_high.masked_fill(undecided, ignore_index)


def ignore_outside(
    labels: Tensor, img_boxes: Sequence[Sequence[int]], ignore_index: int = 255
) -> Tensor:
    """Set every pixel outside the real image of a padded crop to ``ignore_index``.

    Args:
        labels: (B, H, W).
        img_boxes: one (y0, y1, x0, x1), end-exclusive, per image.
        ignore_index: label of the padding.

    Returns:
        (B, H, W), a new tensor.
    """
    inside = torch.zeros_like(labels, dtype=torch.bool)
    for mask, (y0, y1, x0, x1) in zip(inside, img_boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return labels.masked_fill(~inside, ignore_index)


def label_of_masks(masks: Tensor, class_idx: Tensor, size: Sequence[int]) -> Tensor:
    """Bring soft masks to a size and take the best class.

    Args:
        masks: (B, 1 + M, h, w), background first.
        class_idx: (B, M) foreground classes 0..K-1, -1 for none.
        size: height and width of the label map.

    Returns:
        (B, H, W) int64 labels of that size.
    """
    strips = [labels_from_masks(strip, class_idx) for _, strip in resize_strips(masks, size)]
    return strips[0] if len(strips) == 1 else torch.cat(strips, dim=1)


def label_of_two_scores(
    masks: Tensor, class_idx: Tensor, size: Sequence[int], ignore_index: int = 255
) -> Tensor:
    """Merge the masks of a high and of a low background score to a label.

    Args:
        masks: (B, 2 * (1 + M), h, w) of :func:`stacked_masks` for (high, low), refined or not.
        class_idx: (B, M) foreground classes 0..K-1, -1 for none.
        size: height and width of the label.
        ignore_index: label of undecided pixels.

    Returns:
        (B, H, W) int64 pseudo label: 0 background, 1..K foreground, ``ignore_index`` undecided.

    Example:
        >>> cams, class_idx = torch.tensor([[[[0.9, 0.45, 0.1]]]]), torch.tensor([[4]])
        >>> masks = stacked_masks(cams, class_idx, (0.55, 0.35))
        >>> label_of_two_scores(masks, class_idx, (1, 3))
        tensor([[[  5, 255,   0]]])
    """
    high, low = (label_of_masks(part, class_idx, size) for part in masks.chunk(2, dim=1))
    return merge_thresholds(high, low, ignore_index)

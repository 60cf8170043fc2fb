"""A training step of AFA the way it is usually computed: everything in every step.

The losses are those of :meth:`AFA.loss` in the phase ``propagated``, with the weights of the same
model. What the step computes more: the attention of every block is kept, the segmentation head
runs in every CAM pass, PAR computes its weights for every set of masks, pairs of tokens are N x N.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afa.testing.plain_encoder import last_attention, plain_encode
from afa.testing.plain_labels import (
    plain_affinity,
    plain_affinity_label,
    plain_affinity_loss,
    plain_cams,
    plain_pseudo_label,
    plain_seg_logits,
    plain_walk,
)


def plain_losses(
    model: Any, inputs: Tensor, labels: Tensor, boxes: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Compute the losses of a step.

    Args:
        model: an :class:`AFA` with affinity head and refiner.
        inputs: (B, 3, H, W).
        labels: (B, K) multi-hot image labels.
        boxes: real image (y0, y1, x0, x1) in each crop.

    Returns:
        ``loss_cls``, ``loss_seg`` and ``loss_aff``, weighted as in the model.
    """
    cfg = model.train_cfg
    feats, attn = plain_encode(model.backbone, inputs)
    cls_logits = model.cls_head(feats[-1])
    seg_logits = plain_seg_logits(model, feats)
    affinity = plain_affinity(model, last_attention(model.backbone, attn))

    cams, affinities = plain_cams(model, inputs, labels)
    images = model.rgb_images(inputs)
    pseudo = plain_pseudo_label(model, cams, labels, images, boxes)
    walk_affinity, grid = affinities[cfg.propagation_scale]
    transitions = [plain_walk(one, grid, cfg.radius, cfg.power) for one in walk_affinity]
    seg_label = plain_pseudo_label(model, cams, labels, images, boxes, transitions, grid)

    size = feats[-1].shape[2:]
    aff_label = plain_affinity_label(pseudo, (size[0], size[1]), cfg.radius)
    seg = F.interpolate(seg_logits, inputs.shape[2:], mode="bilinear", align_corners=False)
    loss_aff = plain_affinity_loss(affinity, aff_label)
    return dict(
        loss_cls=model.cls_head.loss(cls_logits, labels),
        loss_seg=model.decode_head.loss_decode.loss_weight * plain_seg_loss(seg, seg_label),
        loss_aff=model.affinity_head.loss_aff.loss_weight * loss_aff,
    )


def plain_seg_loss(seg_logits: Tensor, label: Tensor) -> Tensor:
    """Mean of two cross-entropies, over background pixels and over foreground pixels."""
    background = label.masked_fill(label != 0, 255)
    foreground = label.masked_fill(label == 0, 255)
    parts = []
    for part in (background, foreground):
        total = F.cross_entropy(seg_logits, part, ignore_index=255, reduction="sum")
        parts.append(total / (part != 255).sum().clamp(min=1))
    return 0.5 * (parts[0] + parts[1])


def train_step(optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
    """Do one update: backward pass and optimizer."""
    optimizer.zero_grad()
    sum(losses.values(), torch.zeros((), device=losses["loss_cls"].device)).backward()
    optimizer.step()

"""CAMs, pseudo labels and affinity labels of AFA the way they are usually computed.

CAMs by the whole network at every scale; PAR for each set of masks of each image; a random walk
with the whole N x N matrix; labels of all N x N pairs. B images, M present classes, H W crop, h w
token grid, N = h * w.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import SegformerHead
from torch import Tensor

from afa.models.utils import resize_images
from afa.testing.plain_encoder import last_attention, plain_encode
from afa.testing.plain_par import plain_par


@torch.no_grad()
def plain_cams(
    model: Any, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, dict[float, tuple[Tensor, tuple[int, int]]]]:
    """Compute CAMs of all classes by running the whole network at every scale.

    Args:
        model: an :class:`AFA`.
        inputs: (B, 3, H, W).
        labels: (B, K) multi-hot image labels; maps of other classes are zeroed.

    Returns:
        CAMs (B, K, H, W) in 0..1, and by scale the affinity (B, N, N) of the images that are not
        mirrored with its token grid.
    """
    total = inputs.new_zeros((*labels.shape, *inputs.shape[2:]))
    affinities = {}
    for scale in model.train_cfg.cam_scales:
        scaled = resize_images(inputs, scale)
        feats, attn = plain_encode(model.backbone, torch.cat([scaled, scaled.flip(3)]), False)
        plain_seg_logits(model, feats)
        logits = F.conv2d(feats[-1], model.cls_head.classifier.weight)
        plain, mirrored = logits.chunk(2)
        maps = torch.maximum(plain, mirrored.flip(3)).relu()
        total += F.interpolate(maps, inputs.shape[2:], mode="bilinear", align_corners=False)
        stacked = last_attention(model.backbone, attn)
        grid = (feats[-1].shape[2], feats[-1].shape[3])
        affinities[scale] = (plain_affinity(model, stacked)[: len(inputs)], grid)
    total -= total.amin(dim=(2, 3), keepdim=True)
    total /= total.amax(dim=(2, 3), keepdim=True) + 1e-5
    return total * labels[:, :, None, None], affinities


def plain_seg_logits(model: Any, feats: tuple[Tensor, ...]) -> Tensor:
    """Segmentation logits of SegFormer's head as mmseg computes them."""
    return SegformerHead.forward(model.decode_head, feats)


def plain_affinity(model: Any, attn: Tensor) -> Tensor:
    """sigmoid(conv(S + S^T)): logits (B, A, N, N) to affinity (B, N, N)."""
    return model.affinity_head.proj(attn + attn.transpose(2, 3)).squeeze(1).sigmoid()


def plain_walk(affinity: Tensor, grid: tuple[int, int], radius: int, power: float) -> Tensor:
    """Build the transition matrix (N, N) of one image: D^-1 A^power inside a square window."""
    trans = (affinity * plain_window(grid, radius, affinity.device)) ** power
    return trans / (trans.sum(dim=1, keepdim=True) + 0.1)


def plain_window(grid: tuple[int, int], radius: int, device: torch.device) -> Tensor:
    """Mark the pairs (N, N) of tokens at most ``radius`` apart, computed anew at every call."""
    h, w = grid
    y = torch.arange(h, device=device).repeat_interleave(w)
    x = torch.arange(w, device=device).repeat(h)
    far_y, far_x = (y[:, None] - y).abs(), (x[:, None] - x).abs()
    return ((far_y <= radius) & (far_x <= radius)).float()


@torch.no_grad()
def plain_pseudo_label(
    model: Any,
    cams: Tensor,
    labels: Tensor,
    images: Tensor,
    transitions: list[Tensor] | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Make pseudo labels image by image, PAR once for each background score.

    Args:
        model: an :class:`AFA`.
        cams: (B, K, H, W) in 0..1.
        labels: (B, K) multi-hot.
        images: (B, 3, H', W') RGB, 0..255, at the resolution of PAR.
        transitions: matrices (N, N) of a random walk, one per image; None for none.
        grid: their token grid.

    Returns:
        (B, H, W) int64: 0 background, 1..K foreground, 255 undecided.
    """
    cfg, made = model.train_cfg, []
    for i, (cam, label) in enumerate(zip(cams, labels, strict=True)):
        present = torch.nonzero(label)[:, 0]
        names = F.pad(present + 1, (1, 0))
        scored = []
        for score in (cfg.bkg_thr_high, cfg.bkg_thr_low):
            background = torch.full_like(cam[:1], score)
            masks = torch.cat([background, cam[present]]).softmax(dim=0)[None]
            if transitions is not None:
                masks = walk_masks(masks, transitions[i], grid)
            masks = plain_refine(model.refiner, images[i : i + 1], masks)
            masks = F.interpolate(masks, cams.shape[2:], mode="bilinear", align_corners=False)
            scored.append(names[masks[0].argmax(dim=0)])
        high, low = scored
        made.append(torch.where((high == 0) & (low != 0), 255, high))
    return torch.stack(made)


def walk_masks(masks: Tensor, transition: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Resize masks (1, M, H, W) to the token grid and apply a transition matrix (N, N) to them."""
    tokens = F.interpolate(masks, size=grid, mode="bilinear", align_corners=False)
    walked = tokens.flatten(2) @ transition.t()
    return walked.view_as(tokens)


def plain_refine(par: Any, images: Tensor, masks: Tensor) -> Tensor:
    """Refine one set of masks (1, M, h, w) with the settings of a :class:`PAR`."""
    masks = F.interpolate(masks, images.shape[2:], mode="bilinear", align_corners=True)
    settings = (par.num_iters, par.dilations, par.color_scale, par.pos_weight)
    return plain_par(images, masks, *settings)


def plain_affinity_label(label: Tensor, grid: tuple[int, int], radius: int) -> Tensor:
    """Label all pairs of tokens: labels (B, H, W) to (B, N, N), 1, 0 or 255."""
    tokens = F.interpolate(label[:, None].float(), size=grid, mode="nearest").flatten(1).long()
    made = []
    for token in tokens:
        same = (token[:, None] == token[None, :]).long()
        same[token == 255, :] = 255
        same[:, token == 255] = 255
        same[plain_window(grid, radius, label.device) == 0] = 255
        made.append(same)
    return torch.stack(made)


def plain_affinity_loss(affinity: Tensor, label: Tensor) -> Tensor:
    """Half the mean of 1 - a over positive pairs, half that of a over negative ones, counts + 1."""
    positive, negative = (label == 1).float(), (label == 0).float()
    loss_pos = (positive * (1 - affinity)).sum() / (positive.sum() + 1)
    loss_neg = (negative * affinity).sum() / (negative.sum() + 1)
    return 0.5 * (loss_pos + loss_neg)

"""AFA the way it is usually computed: what the fast code is compared with and measured against.

From top to bottom as a training step of the phase ``propagated`` goes: the Mix Transformer without
fused attention, every attention matrix kept and handed out; CAMs by the whole network at every
scale, segmentation head included; PAR with its weights anew for each set of masks of each image; a
random walk with the whole N x N matrix; labels of all N x N pairs; the losses of :meth:`AFA.loss`,
the dense-energy regulariser over all pairs of pixels, and the update. Everything is computed in
every step, with the weights of the model that it is compared with.

B images, C channels or classes, K foreground classes, M present classes or masks, A attention
maps, H W crop, P = H * W pixels, h w token grid, N = h * w tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import SegformerHead
from torch import Tensor
from torchvision.ops import stochastic_depth

from afa.models.backbones.mit_attn import tokens_to_map
from afa.models.functional import resize_images, resize_maps
from plain_par import plain_par


def plain_attention(attention: Any, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Attend with the weights of an :class:`EfficientAttention`.

    Args:
        attention: the layer.
        x: tokens (B, N, C).
        grid: their grid (h, w).

    Returns:
        Tokens (B, N, C) and a copy of the unscaled logits (B, heads, N, M).
    """
    q = attention._split_heads(attention.q(x))
    k, v = (
        attention._split_heads(part)
        for part in attention.kv(attention._reduce(x, grid)).chunk(2, dim=-1)
    )
    logits = q @ k.transpose(-2, -1)
    handed_out = logits.clone()
    out = (logits * attention.scale).softmax(dim=-1) @ v
    return attention.proj(out.transpose(1, 2).flatten(2)), handed_out


def plain_encode(
    backbone: Any, images: Tensor, use_drop_path: bool = True
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Compute the features of the four stages and the attention of every block.

    Args:
        backbone: a :class:`MiTAttn`, whose weights are used.
        images: (B, 3, H, W).
        use_drop_path: as ``drop_path`` of :meth:`MiTAttn.forward`.

    Returns:
        The four feature maps, and the logits (B, heads, N, M) of every block in order.
    """
    feats, attn = [], []
    x = images
    for stage in range(1, 5):
        tokens, grid = backbone.get_submodule(f"patch_embed{stage}")(x)
        for block in backbone.get_submodule(f"block{stage}").children():
            rate, drops = block.drop_path_rate, block.training and use_drop_path
            out, logits = plain_attention(block.attn, block.norm1(tokens), grid)
            tokens = tokens + stochastic_depth(out, rate, "row", drops)
            out = block.mlp(block.norm2(tokens), grid)
            tokens = tokens + stochastic_depth(out, rate, "row", drops)
            attn.append(logits)
        x = tokens_to_map(backbone.get_submodule(f"norm{stage}")(tokens), grid)
        feats.append(x)
    return tuple(feats), attn


def last_attention(backbone: Any, attn: list[Tensor]) -> Tensor:
    """Stack the logits of the last blocks of stage 4, (B, A, N, N), as the affinity needs them."""
    return torch.cat(attn[-backbone.num_attn_blocks :], dim=1)


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
        plain, mirrored = resize_maps(logits, inputs.shape[2:]).chunk(2)
        total += torch.maximum(plain, mirrored.flip(3)).relu()
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
    boxes: Sequence[Sequence[int]],
    transitions: list[Tensor] | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Make pseudo labels image by image, PAR once for each background score.

    Args:
        model: an :class:`AFA`.
        cams: (B, K, H, W) in 0..1.
        labels: (B, K) multi-hot.
        images: (B, 3, H, W) RGB, 0..255.
        boxes: real image (y0, y1, x0, x1) in each crop.
        transitions: matrices (N, N) of a random walk, one per image; None for none.
        grid: their token grid.

    Returns:
        (B, H, W) int64: 0 background, 1..K foreground, 255 undecided or padding.
    """
    cfg, made = model.train_cfg, torch.full_like(cams[:, 0], 255, dtype=torch.int64)
    for i, (y0, y1, x0, x1) in enumerate(boxes):
        present = torch.nonzero(labels[i])[:, 0]
        names = F.pad(present + 1, (1, 0))
        scored = []
        for score in (cfg.bkg_thr_high, cfg.bkg_thr_low):
            if transitions is None:
                masks = plain_masks(cams[i, present], score, _share(images, cfg.refine_scale))
                masks = plain_refine(model, images[i : i + 1], masks)
                masks = resize_maps(masks, cams.shape[2:])
            else:
                masks = plain_masks(cams[i, present], score, grid)
                masks = resize_maps(walk_masks(masks, transitions[i]), cams.shape[2:])
                real = images[i : i + 1, :, y0:y1, x0:x1]
                inside = plain_refine(model, real, masks[..., y0:y1, x0:x1])
                inside = resize_maps(inside, real.shape[2:])
                masks = F.pad(inside, (x0, cams.shape[3] - x1, y0, cams.shape[2] - y1))
            scored.append(names[masks[0].argmax(dim=0)])
        high, low = scored
        label = torch.where((high == 0) & (low != 0), 255, high)
        made[i, y0:y1, x0:x1] = label[y0:y1, x0:x1]
    return made


def plain_masks(cams: Tensor, score: float, size: Sequence[int] | None) -> Tensor:
    """Stack a background on CAMs (M, H, W), resize, softmax: (1, 1 + M, h, w)."""
    stacked = torch.cat([torch.full_like(cams[:1], score), cams])[None]
    return resize_maps(stacked, size or cams.shape[1:]).softmax(dim=1)


def walk_masks(masks: Tensor, transition: Tensor) -> Tensor:
    """Apply a transition matrix (N, N) to masks (1, M, h, w) on the token grid."""
    return (masks.flatten(2) @ transition.t()).view_as(masks)


def _share(images: Tensor, scale: float) -> tuple[int, int]:
    return int(images.shape[2] * scale), int(images.shape[3] * scale)


def plain_refine(model: Any, images: Tensor, masks: Tensor) -> Tensor:
    """Refine one set of masks (1, M, h, w) by the PAR of a model, at its share of the images."""
    par, size = model.refiner, _share(images, model.refine_scale)
    small = resize_maps(images.clamp(0, 255).floor(), size)
    masks = F.interpolate(masks, size, mode="bilinear", align_corners=True)
    settings = (par.num_iters, par.dilations, par.color_scale, par.pos_weight)
    return plain_par(small, masks, *settings)


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


def plain_seg_loss(seg_logits: Tensor, label: Tensor) -> Tensor:
    """Mean of two cross-entropies, over background pixels and over foreground pixels."""
    background = label.masked_fill(label != 0, 255)
    foreground = label.masked_fill(label == 0, 255)
    parts = []
    for part in (background, foreground):
        total = F.cross_entropy(seg_logits, part, ignore_index=255, reduction="sum")
        parts.append(total / (part != 255).sum().clamp(min=1))
    return 0.5 * (parts[0] + parts[1])


def plain_dense_energy(
    prob: Tensor, image: Tensor, keep: Tensor, sigma_rgb: float, sigma_xy: float, rows: int = 512
) -> Tensor:
    """Compute sum_ij S_i S_j G_ij (1 - sum_a p_i(a) p_j(a)) of one image; with a gradient.

    Over all pairs of pixels: the usual programs approximate the sum by a compiled permutohedral
    lattice, which is not at hand; this is what both that and the fast code approximate.

    Args:
        prob: (C, H, W) probabilities that sum to 1 over the classes.
        image: (3, H, W) RGB, 0..255.
        keep: (H, W) the soft filter S, 0..1.
        sigma_rgb: standard deviation over colours.
        sigma_xy: standard deviation over positions, in pixels.
        rows: pixels whose pairs are held at a time.

    Returns:
        Scalar.
    """
    _, H, W = prob.shape
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    place = torch.stack([y, x]).to(image).flatten(1) / sigma_xy
    points = torch.cat([place, image.flatten(1) / sigma_rgb]).t().contiguous()  # (P, 5)
    keep = keep.flatten()
    values = prob.flatten(1).t() * keep[:, None]  # (P, C)
    energy = prob.new_zeros(())
    for begin in range(0, H * W, rows):
        part = slice(begin, begin + rows)
        pairs = torch.exp(-0.5 * torch.cdist(points[part], points).square())
        energy = energy + (keep[part] * (pairs @ keep)).sum()
        energy = energy - (values[part] * (pairs @ values)).sum()
    return energy


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


def train_step(optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
    """Do one update: backward pass and optimizer."""
    optimizer.zero_grad()
    sum(losses.values(), torch.zeros((), device=losses["loss_cls"].device)).backward()
    optimizer.step()

"""The Mix Transformer with every attention matrix computed, kept and handed out.

The formula of :mod:`afa.models.backbones.mit_attn` without fused attention: logits, softmax and
product one after the other in every block. B images, N tokens, M keys.
"""

from typing import Any

import torch
from torch import Tensor

from afa.models.backbones.mit_layers import drop_path, tokens_to_map


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
            rate = block.drop_path_rate if block.training and use_drop_path else 0.0
            out, logits = plain_attention(block.attn, block.norm1(tokens), grid)
            tokens = tokens + drop_path(out, rate)
            tokens = tokens + drop_path(block.mlp(block.norm2(tokens), grid), rate)
            attn.append(logits)
        x = tokens_to_map(backbone.get_submodule(f"norm{stage}")(tokens), grid)
        feats.append(x)
    return tuple(feats), attn


def last_attention(backbone: Any, attn: list[Tensor]) -> Tensor:
    """Stack the logits of the last blocks of stage 4, (B, A, N, N), as the affinity needs them."""
    return torch.cat(attn[-backbone.num_attn_blocks :], dim=1)

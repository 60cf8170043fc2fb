"""Sizes and layers of the Mix Transformer (SegFormer, Xie et al., NeurIPS 2021, arXiv:2105.15203).

B batch, C channels, h w token grid, N = h * w tokens (row-major), M keys (N, or fewer after spatial
reduction). Attribute names give the parameter names of the official SegFormer checkpoints.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The official checkpoints were trained with 1e-6 in the blocks and stages, and with torch's
# default of 1e-5 in the patch embeddings and after the spatial reduction.
BLOCK_NORM_EPS = 1e-6


class MiTArch(NamedTuple):
    """Sizes in which the members of the family differ."""

    embed_dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


_WIDE = (64, 128, 320, 512)
ARCHS = {
    "b0": MiTArch((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": MiTArch(_WIDE, (2, 2, 2, 2)),
    "b2": MiTArch(_WIDE, (3, 4, 6, 3)),
    "b3": MiTArch(_WIDE, (3, 4, 18, 3)),
    "b4": MiTArch(_WIDE, (3, 8, 27, 3)),
    "b5": MiTArch(_WIDE, (3, 6, 40, 3)),
}


def tokens_to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Turn row-major tokens (B, h*w, C) into a feature map (B, C, h, w)."""
    B, _, C = tokens.shape
    return tokens.transpose(1, 2).reshape(B, C, *grid)


def map_to_tokens(feature_map: Tensor) -> Tensor:
    """Turn a feature map (B, C, h, w) into row-major tokens (B, h*w, C)."""
    return feature_map.flatten(2).transpose(1, 2)


def drop_path(x: Tensor, drop_prob: float) -> Tensor:
    """Zero whole samples with probability `drop_prob`, and scale the others to keep the mean.

    Args:
        x: A residual branch (B, ...).
        drop_prob: Probability in [0, 1).

    Returns:
        A tensor of the same shape.
    """
    if drop_prob == 0.0:
        return x
    keep_prob = 1.0 - drop_prob
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep_prob)
    return x * mask.div_(keep_prob)


class OverlapPatchEmbed(nn.Module):
    """Cut a map into overlapping patches and embed each as one token.

    Args:
        in_channels: Channels of the input map.
        embed_dims: Channels of a token.
        patch_size: Odd side of a patch; the padding is half of it.
        stride: Distance of neighbouring patches.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride, patch_size // 2)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed a map (B, C, H, W): tokens (B, N, embed_dims) and their grid (h, w)."""
        x = self.proj(x)
        h, w = x.shape[-2:]
        return self.norm(map_to_tokens(x)), (h, w)


class EfficientAttention(nn.Module):
    """Multi-head attention whose keys and values may stand on a coarser grid.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads; divides `embed_dims`.
        sr_ratio: Keys and values are reduced by this factor along both sides; 1 keeps them all.
    """

    def __init__(self, embed_dims: int, num_heads: int, sr_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.scale = (embed_dims // num_heads) ** -0.5
        self.q = nn.Linear(embed_dims, embed_dims)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(embed_dims)

    def forward(
        self, x: Tensor, grid: tuple[int, int], hand_out: str | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Attend over the tokens.

        Args:
            x: Tokens (B, N, C).
            grid: The token grid (h, w).
            hand_out: None, 'attn' for the logits, which are then used instead of the fused
                attention, or 'qk' for what they are made of.

        Returns:
            Tokens (B, N, C), and what is handed out: nothing, the unscaled logits q·kᵀ in float32
            (B, heads, N, M), or queries and keys (B, heads, N or M, C / heads).
        """
        q = self._split_heads(self.q(x))
        k, v = (self._split_heads(t) for t in self.kv(self._reduce(x, grid)).chunk(2, dim=-1))
        handed_out: tuple[Tensor, ...] = ()
        if hand_out == "attn":
            # The affinity is learned from these numbers: bf16 would keep 8 of their bits.
            with torch.autocast(x.device.type, enabled=False):
                logits = q.float() @ k.float().transpose(-2, -1)
                weights = (logits * self.scale).softmax(dim=-1)
            out = weights.to(v.dtype) @ v
            handed_out = (logits,)
        else:
            out = F.scaled_dot_product_attention(q, k, v)
            handed_out = (q, k) if hand_out == "qk" else ()
        out = out.transpose(1, 2).flatten(2)  # (B, heads, N, C / heads) -> (B, N, C)
        return self.proj(out), handed_out

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _reduce(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, M, C) from which keys and values are made."""
        if self.sr_ratio == 1:
            return x
        feature_map = tokens_to_map(x, grid)
        pad_h, pad_w = (max(self.sr_ratio - side, 0) for side in grid)
        if pad_h or pad_w:  # a grid below the ratio still needs one key
            feature_map = F.pad(feature_map, (0, pad_w, 0, pad_h), mode="replicate")
        return self.norm(map_to_tokens(self.sr(feature_map)))


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution on tokens: it stands for the position encoding.

    Args:
        channels: Channels of a token.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Convolve tokens (B, N, C) on their grid."""
        return map_to_tokens(self.dwconv(tokens_to_map(x, grid)))


class MixFFN(nn.Module):
    """Feed-forward network with a depthwise convolution before the activation.

    Args:
        embed_dims: Channels of a token.
        hidden_dims: Channels between the two linear layers.
    """

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.dwconv = DepthwiseConv(hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to tokens of the same shape."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), grid)))


class MiTBlock(nn.Module):
    """Attention and feed-forward network, each with a norm before and a shortcut around.

    Args:
        embed_dims: Channels of a token.
        num_heads: Attention heads.
        mlp_ratio: Hidden channels of the feed-forward network per channel of a token.
        sr_ratio: Spatial reduction of keys and values.
        drop_path_rate: Probability in [0, 1) that a sample skips a branch in training.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, mlp_ratio: int, sr_ratio: int, drop_path_rate: float
    ) -> None:
        super().__init__()
        self.drop_path_rate = drop_path_rate
        self.norm1 = nn.LayerNorm(embed_dims, eps=BLOCK_NORM_EPS)
        self.attn = EfficientAttention(embed_dims, num_heads, sr_ratio)
        self.norm2 = nn.LayerNorm(embed_dims, eps=BLOCK_NORM_EPS)
        self.mlp = MixFFN(embed_dims, mlp_ratio * embed_dims)

    def forward(
        self,
        x: Tensor,
        grid: tuple[int, int],
        hand_out: str | None = None,
        use_drop_path: bool = True,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map tokens (B, N, C) to tokens; see `EfficientAttention.forward` for the rest."""
        drop_prob = self.drop_path_rate if self.training and use_drop_path else 0.0
        out, handed_out = self.attn(self.norm1(x), grid, hand_out)
        x = x + drop_path(out, drop_prob)
        x = x + drop_path(self.mlp(self.norm2(x), grid), drop_prob)
        return x, handed_out

"""Mix Transformer that can hand out the attention logits of its last blocks.

Paper: SegFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203); used by AFA (Ru et al., CVPR 2022,
arXiv:2203.02664), which learns semantic affinity from the attention of the last stage.
Deliberately different: stage 4 has stride 1 by default, so that stages 3 and 4 both stand at
stride 16; attention is fused except in the blocks whose logits are asked for; a map smaller than
the spatial reduction is padded instead of refused. Attribute names give the parameter names of the
official SegFormer checkpoints; how other programs name them is in `mit_weights.py`.

B batch, C channels, H W image, h w token grid, N = h * w tokens (row-major), M keys (N, or fewer
after spatial reduction), A attention maps.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import stochastic_depth

from afa.models.backbones.mit_weights import ARCHS, convert_mit_state_dict, fit_mit_weights
from afa.models.backbones.pretrained import PretrainedBackbone

NUM_HEADS = (1, 2, 5, 8)
SR_RATIOS = (8, 4, 2, 1)
PATCH_SIZES = (7, 3, 3, 3)
MLP_RATIO = 4
# The official checkpoints were trained with 1e-6 in the blocks and stages, and with torch's
# default of 1e-5 in the patch embeddings and after the spatial reduction.
BLOCK_NORM_EPS = 1e-6


def tokens_to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Turn row-major tokens (B, h*w, C) into a feature map (B, C, h, w)."""
    B, _, C = tokens.shape
    return tokens.transpose(1, 2).reshape(B, C, *grid)


def map_to_tokens(feature_map: Tensor) -> Tensor:
    """Turn a feature map (B, C, h, w) into row-major tokens (B, h*w, C)."""
    return feature_map.flatten(2).transpose(1, 2)


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


class MixFFN(nn.Module):
    """Feed-forward network whose 3x3 depthwise convolution stands for the position encoding.

    Args:
        embed_dims: Channels of a token.
        hidden_dims: Channels between the two linear layers.
    """

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        conv = nn.Conv2d(hidden_dims, hidden_dims, 3, padding=1, groups=hidden_dims)
        self.dwconv = nn.Sequential(OrderedDict(dwconv=conv))
        self.fc2 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to tokens of the same shape."""
        feature_map = self.dwconv(tokens_to_map(self.fc1(x), grid))
        return self.fc2(F.gelu(map_to_tokens(feature_map)))


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
        drops = self.training and use_drop_path
        out, handed_out = self.attn(self.norm1(x), grid, hand_out)
        x = x + stochastic_depth(out, self.drop_path_rate, "row", drops)
        x = x + stochastic_depth(self.mlp(self.norm2(x), grid), self.drop_path_rate, "row", drops)
        return x, handed_out


@MODELS.register_module()
class MiTAttn(PretrainedBackbone):
    """Mix Transformer B0 to B5 with optional attention logits.

    Args:
        arch: 'b0' to 'b5'.
        strides: Strides of the four patch embeddings, each at least 1.
        drop_path_rate: Stochastic depth of the last block, in [0, 1); it grows linearly from 0 at
            the first block.
        num_attn_blocks: Blocks at the end of stage 4 whose logits `with_attn` gives.
        init_cfg: None for random weights, or dict(type='Pretrained', checkpoint=PATH) for weights
            in the layout of SegFormer, mmseg or Hugging Face.

    Attributes:
        embed_dims: Channels of the four stages.
        num_attn: Number A of attention maps: heads of stage 4 times `num_attn_blocks`.
        head_dim: Channels of one head of stage 4, to scale the logits by.
        drop_path_rate: As given; with 0 training and CAMs see the same features.
        has_qk: Tells that `with_qk` is there; a backbone without it gives logits.

    Example:
        >>> backbone = MiTAttn('b0')
        >>> feats, attn = backbone(torch.rand(1, 3, 64, 96), with_attn=True)
        >>> [tuple(f.shape) for f in feats]
        [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6), (1, 256, 4, 6)]
        >>> tuple(attn.shape)
        (1, 16, 24, 24)
    """

    has_qk = True

    def __init__(
        self,
        arch: str,
        strides: Sequence[int] = (4, 2, 2, 1),
        drop_path_rate: float = 0.1,
        num_attn_blocks: int = 2,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if arch not in ARCHS:
            raise ValueError(f"arch must be one of {', '.join(ARCHS)}, but got {arch!r}.")
        if len(strides) != 4 or not all(_is_count(s) for s in strides):
            raise ValueError(f"strides must be four integers of at least 1, but got {strides!r}.")
        if not 0.0 <= drop_path_rate < 1.0:
            raise ValueError(f"drop_path_rate must be in [0, 1), but got {drop_path_rate!r}.")
        depth = ARCHS[arch].depths[-1]
        if not _is_count(num_attn_blocks) or num_attn_blocks > depth:
            raise ValueError(
                f"num_attn_blocks must be 1 to {depth}, the blocks in stage 4 of "
                f"MiT-{arch.upper()}, but got {num_attn_blocks!r}."
            )
        self.arch = arch
        self.embed_dims, self.depths = ARCHS[arch]
        self.strides = tuple(strides)
        self.drop_path_rate = drop_path_rate
        self.num_attn_blocks = num_attn_blocks
        self.num_attn = NUM_HEADS[-1] * num_attn_blocks

        self.head_dim = self.embed_dims[3] // NUM_HEADS[3]
        num_blocks = sum(self.depths)
        rates = iter([drop_path_rate * i / (num_blocks - 1) for i in range(num_blocks)])
        in_channels = 3
        for i, dims in enumerate(self.embed_dims):
            patch_embed = OverlapPatchEmbed(in_channels, dims, PATCH_SIZES[i], self.strides[i])
            blocks = [
                MiTBlock(dims, NUM_HEADS[i], MLP_RATIO, SR_RATIOS[i], next(rates))
                for _ in range(self.depths[i])
            ]
            self.add_module(f"patch_embed{i + 1}", patch_embed)
            self.add_module(f"block{i + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dims, eps=BLOCK_NORM_EPS))
            in_channels = dims

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the maps that ``forward`` gives, in their order."""
        return tuple(self.embed_dims)

    def draw_weights(self) -> None:
        """Draw the weights as SegFormer does."""
        self.apply(_init_layer)

    def fit(self, state: object) -> dict[str, Tensor]:
        """Turn what a file holds into a state dict of this network."""
        return fit_mit_weights(convert_mit_state_dict(state), self.state_dict(), self.arch)

    def forward(
        self, x: Tensor, with_attn: bool = False, drop_path: bool = True, with_qk: bool = False
    ) -> tuple[Tensor, ...] | tuple[tuple[Tensor, ...], Tensor | tuple[Tensor, Tensor]]:
        """Compute the features of the four stages.

        Args:
            x: Normalised images (B, 3, H, W) of any size.
            with_attn: Also return the attention logits.
            drop_path: False switches stochastic depth off in training mode too, as CAMs need it;
                nothing else in the network differs between training and evaluation.
            with_qk: Also return what the attention logits are made of, N times smaller; the
                attention stays fused. Not together with `with_attn`.

        Returns:
            Four maps (B, embed_dims[i], h_i, w_i). With `with_attn` a pair of these and of the
            logits q·kᵀ of the last blocks of stage 4, before scaling and softmax, float32
            (B, A, N, N), query by key, the heads of the earlier block first. With `with_qk` a pair
            of these and of queries and keys, (B, A, N, head_dim) each, in the same order.
        """
        assert not (with_attn and with_qk), "logits, or what they are made of"
        hand_out = "attn" if with_attn else "qk" if with_qk else None
        feats: list[Tensor] = []
        found: list[tuple[Tensor, ...]] = []
        for i, depth in enumerate(self.depths):
            tokens, grid = self.get_submodule(f"patch_embed{i + 1}")(x)
            first = depth - self.num_attn_blocks if i == 3 else depth
            blocks = self.get_submodule(f"block{i + 1}")
            for j, block in enumerate(blocks.children()):
                wanted = hand_out if j >= first else None
                tokens, handed_out = block(tokens, grid, wanted, drop_path)
                found += [handed_out] if handed_out else []
            x = tokens_to_map(self.get_submodule(f"norm{i + 1}")(tokens), grid)
            feats.append(x)
        if hand_out is None:
            return tuple(feats)
        parts = [torch.cat(part, dim=1) for part in zip(*found, strict=True)]
        return tuple(feats), parts[0] if with_attn else (parts[0], parts[1])


def _is_count(value: object) -> bool:
    """Whether a value is an integer of at least 1 (True is none)."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _init_layer(layer: nn.Module) -> None:
    """Draw the weights of one layer as SegFormer does."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
    elif isinstance(layer, nn.Conv2d):
        fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
        nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_out))
    elif isinstance(layer, nn.LayerNorm):
        nn.init.ones_(layer.weight)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

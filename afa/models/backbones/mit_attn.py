"""Mix Transformer that can hand out the attention logits of its last blocks.

Paper: SegFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203); used by AFA (Ru et al., CVPR 2022,
arXiv:2203.02664), which learns semantic affinity from the attention of the last stage.
Deliberately different: stage 4 has stride 1 by default, so that stages 3 and 4 both stand at
stride 16; attention is fused except in the blocks whose logits are asked for; a map smaller than
the spatial reduction is padded instead of refused.

B batch, H W image, h w token grid of stage 4, N = h * w (row-major), A attention maps.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from afa.models.backbones.mit_layers import (
    ARCHS,
    BLOCK_NORM_EPS,
    MiTBlock,
    OverlapPatchEmbed,
    tokens_to_map,
)
from afa.models.backbones.mit_weights import convert_mit_state_dict, fit_mit_weights
from afa.models.backbones.pretrained import check_init_cfg, load_pretrained

NUM_HEADS = (1, 2, 5, 8)
SR_RATIOS = (8, 4, 2, 1)
PATCH_SIZES = (7, 3, 3, 3)
MLP_RATIO = 4


@MODELS.register_module()
class MiTAttn(BaseModule):
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
        super().__init__(init_cfg=init_cfg)
        _check_arguments(arch, strides, drop_path_rate, num_attn_blocks)
        check_init_cfg(init_cfg)
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

    def init_weights(self) -> None:
        """Load the weights that `init_cfg` names, or draw them as SegFormer does.

        Raises:
            FileNotFoundError: If the checkpoint does not exist.
            ValueError: If the checkpoint cannot be read, or its weights do not fit this network.
        """
        if self.init_cfg is None:
            self.apply(_init_layer)
        else:
            load_pretrained(self, self.init_cfg["checkpoint"], self._fit)
        self._is_init = True

    def _fit(self, state: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return fit_mit_weights(convert_mit_state_dict(state), expected, self.arch)

    def forward(
        self,
        x: Tensor,
        with_attn: bool = False,
        drop_path: bool = True,
        with_qk: bool = False,
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


def _check_arguments(
    arch: str, strides: Sequence[int], drop_path_rate: float, num_attn_blocks: int
) -> None:
    """Raise ValueError for arguments that no network can be built from."""
    if arch not in ARCHS:
        raise ValueError(f"arch must be one of {', '.join(ARCHS)}, but got {arch!r}.")
    if len(strides) != 4 or not all(_is_count(s) for s in strides):
        raise ValueError(f"strides must be four integers of at least 1, but got {strides!r}.")
    if not 0.0 <= drop_path_rate < 1.0:
        raise ValueError(f"drop_path_rate must be in [0, 1), but got {drop_path_rate!r}.")
    depth = ARCHS[arch].depths[-1]
    if not _is_count(num_attn_blocks) or num_attn_blocks > depth:
        raise ValueError(
            f"num_attn_blocks must be 1 to {depth}, the blocks in stage 4 of MiT-{arch.upper()}, "
            f"but got {num_attn_blocks!r}."
        )


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

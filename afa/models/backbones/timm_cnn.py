"""Any convolutional network of timm as a backbone, with attention of its own where a method asks.

The attention is ours, there is no paper: it lets AFA (Ru et al., CVPR 2022), which learns affinity
from attention, begin from any network trained on ImageNet. B images, H W pixels, h w grid of the
last map, N = h * w, A attention maps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from timm.layers import LayerScale
from timm.models import group_parameters
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from afa.models.backbones.mit_attn import map_to_tokens, tokens_to_map
from afa.models.backbones.timm_attention import queries_and_keys, view_of
from afa.models.backbones.timm_models import TimmBackbone

NUM_LEVELS = 4
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
_LAYER_SCALE = 1e-2


@MODELS.register_module()
class TimmCNN(TimmBackbone):
    """The last four levels of a convolutional network of timm.

    With an ``output_stride`` of 16 they stand at strides 4, 8, 16 and 16. The last map is the one
    behind the network's last convolution (``conv_head`` of EfficientNets), from which its own
    classifier learned.

    Args:
        name: timm's name of the network.
        pretrained: see :class:`TimmBackbone`.
        output_stride: 8, 16 or 32, as far as the network can; smaller ones dilate.
        frozen_stages: so many first parts of the network do not learn: the stem is the first, each
            stage is one; -1 or 0 for none.
        norm_eval: all norm layers of the network stay as they are, statistics and weights.
        num_attn_blocks: transformer blocks over the tokens of the last map, 2 for AFA; their output
            is added to that map, at first a hundredth of it. 0 for none.
        attn_channels: channels of these blocks.
        num_heads: heads of each block.
        channels_last: lay maps out by pixel, which is faster for depthwise convolutions.
        init_cfg: see :class:`TimmBackbone`.
        **kwargs: further arguments of timm's ``create_model`` for this network, such as
            ``drop_path_rate``.

    Attributes:
        out_channels: channels of the four maps.
        num_attn: number A of attention maps.
        head_dim: channels of one attention head.
        has_qk: tells that ``with_qk`` is there.

    Raises:
        ValueError: if timm has no such network, or it cannot do what an argument asks for.

    Example:
        >>> backbone = TimmCNN('resnet10t', num_attn_blocks=2)
        >>> feats, attn = backbone(torch.rand(1, 3, 64, 96), with_attn=True)
        >>> [tuple(f.shape) for f in feats]
        [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 4, 6)]
        >>> tuple(attn.shape)
        (1, 16, 24, 24)
    """

    has_qk = True

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        output_stride: int = 16,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        num_attn_blocks: int = 0,
        attn_channels: int = 256,
        num_heads: int = 8,
        channels_last: bool = True,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        strided = {} if output_stride == 32 else dict(output_stride=output_stride)
        super().__init__(name, pretrained, init_cfg, **strided, **kwargs)
        info = getattr(self.body, "feature_info", None) or []
        if not hasattr(self.body, "forward_intermediates") or len(info) < NUM_LEVELS:
            raise ValueError(
                f"TimmCNN: timm's {name} does not hand out maps of {NUM_LEVELS} levels"
            )
        # CAMs and training see the same features where nothing depends on the mode.
        self.drop_path_rate = kwargs.get("drop_path_rate", 0.0) if norm_eval else None
        self.norm_eval = norm_eval
        self.indices = list(range(len(info)))[-NUM_LEVELS:]
        channels = [level["num_chs"] for level in info][-NUM_LEVELS:]
        self.out_channels = (*channels[:-1], self.body.num_features)
        stages = group_parameters(self.body, self.body.group_matcher(coarse=True))
        if not -1 <= frozen_stages <= len(stages):
            raise ValueError(
                f"TimmCNN: frozen_stages must be -1 to {len(stages)} for {name}, "
                f"got {frozen_stages}"
            )
        first = [names for _, names in sorted(stages.items())][: max(frozen_stages, 0)]
        self.frozen_names = {name for names in first for name in names}
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.body.to(memory_format=self.memory_format)
        self.attention = None
        if num_attn_blocks:
            last = self.out_channels[-1]
            self.attention = MapAttention(last, attn_channels, num_heads, num_attn_blocks)
            self.num_attn = num_heads * num_attn_blocks
            self.head_dim = attn_channels // num_heads
        self.train()

    def train(self, mode: bool = True) -> "TimmCNN":
        """Switch to training or evaluation; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.body.modules():
            if self.norm_eval and isinstance(module, _NORMS):
                module.eval().requires_grad_(False)
        for name, parameter in self.body.named_parameters():
            if name in self.frozen_names:
                parameter.requires_grad_(False)
        for module in self.body.modules():
            parameters = list(module.parameters())
            if parameters and not any(one.requires_grad for one in parameters):
                module.eval()
        return self

    def forward(
        self, x: Tensor, with_attn: bool = False, drop_path: bool = True, with_qk: bool = False
    ) -> Any:
        """Compute the maps of the four levels.

        Args:
            x: normalised images (B, 3, H, W) of any size.
            with_attn: also give attention logits.
            drop_path: False computes as in evaluation, as CAMs need it: without stochastic depth,
                and without a trace in the statistics of norm layers.
            with_qk: also give what the logits are made of. Not together with ``with_attn``.

        Returns:
            Four maps. With ``with_attn`` a pair of these and of the logits (B, A, N, N) before
            scaling and softmax, float32; with ``with_qk`` of these and of queries and keys,
            (B, A, N, head_dim) each.

        Raises:
            ValueError: if attention is asked for and there is none.
        """
        x = x.contiguous(memory_format=self.memory_format)
        body = self.body if drop_path else view_of(self.body, evaluates=True)[0]
        last, feats = body.forward_intermediates(x, indices=self.indices)
        if self.attention is None:
            if with_attn or with_qk:
                raise ValueError("TimmCNN has no attention: set model.backbone.num_attn_blocks=2")
            return (*feats[:-1], last)
        last, inputs = self.attention(last)
        maps = (*feats[:-1], last)
        if not (with_attn or with_qk):
            return maps
        q, k = self.attention.queries_and_keys(inputs)
        return maps, q.float() @ k.float().transpose(2, 3) if with_attn else (q, k)


class MapAttention(nn.Module):
    """Transformer blocks beside a map: their output is added to it.

    Pre-norm, MLP ratio 4, LayerScale from 1e-2. Keys begin with the weights of queries, so that
    attention is at first a similarity of tokens.

    Args:
        in_channels: channels of the map.
        channels: channels of the blocks.
        num_heads: heads of each block; divides ``channels``.
        num_blocks: number of blocks.

    Raises:
        ValueError: if the heads do not divide the channels.
    """

    def __init__(self, in_channels: int, channels: int, num_heads: int, num_blocks: int) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"TimmCNN: num_heads ({num_heads}) must divide attn_channels ({channels})"
            )
        self.reduce = nn.Linear(in_channels, channels)
        self.blocks = nn.ModuleList(
            Block(channels, num_heads, qkv_bias=True, init_values=_LAYER_SCALE)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, in_channels)
        self.scale = LayerScale(in_channels, _LAYER_SCALE)
        for block in self.blocks:
            for parameter in block.attn.qkv.parameters():
                query, key, _ = parameter.data.chunk(3)
                key.copy_(query)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give the map (B, C, h, w) with what was added, and the tokens that each block got."""
        tokens = self.reduce(map_to_tokens(feature_map))
        inputs = []
        for block in self.blocks:
            inputs.append(tokens)
            tokens = block(tokens)
        added = self.scale(self.expand(self.norm(tokens)))
        grid = feature_map.shape[2:]
        feature_map = feature_map + tokens_to_map(added, grid)
        return feature_map, inputs

    def queries_and_keys(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give queries and keys (B, A, N, d) of all blocks, for what went into each."""
        found = [
            queries_and_keys(block.attn, block.norm1(tokens))
            for block, tokens in zip(self.blocks, inputs, strict=True)
        ]
        queries, keys = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        return queries, keys

"""Any plain vision transformer of timm as a backbone that hands out its attention.

ViT (Dosovitskiy et al., ICLR 2021) as DeiT, DINO, DINOv2 and v3, CLIP, SigLIP, EVA-02 and others
trained it. B images, C channels, H W pixels, h w token grid, N = h * w patch tokens (row-major), A
attention maps. Prefix tokens (class token, registers) stand before the patch tokens.
"""

import math
from collections.abc import Sequence
from typing import Any

import timm
import torch
from mmseg.registry import MODELS
from timm.layers import use_reentrant_ckpt
from timm.models import model_entrypoint
from torch import Tensor, nn
from torch.nn import functional as F

from afa.models.backbones.mit_attn import tokens_to_map
from afa.models.backbones.timm_attention import PLAIN_ATTENTION, view_of
from afa.models.backbones.timm_models import TimmBackbone

NUM_LEVELS = 4
_FAMILIES = ("vision_transformer", "deit", "eva")  # modules of timm
_NORM_GROUPS = 32


@MODELS.register_module()
class TimmViT(TimmBackbone):
    """A plain vision transformer of timm: four maps of one grid, and attention of its last blocks.

    The maps are those behind 1/4, 2/4, 3/4 and 4/4 of the blocks, without prefix tokens, each
    through the network's last norm layer.

    An image of any size is taken. Where the patches do not divide it, it is resized to the next
    size that they do, so that the maps cover just the image.

    Args:
        name: timm's name of the network.
        pretrained: see :class:`TimmBackbone`.
        drop_path_rate: stochastic depth of the last block, in [0, 1); it grows linearly from 0 at
            the first block.
        num_attn_blocks: blocks at the end whose attention ``with_attn`` and ``with_qk`` give.
        frozen_stages: -1 for none; 0: the embedding does not learn (patches, positions, prefix
            tokens); n: nor do the first n blocks; the number of all blocks: nothing learns.
        freeze_pos_embed: the position embedding does not learn.
        pyramid: the first two maps are made finer, 4 and 2 times, by transposed convolutions, in
            the way of ViTDet (Li et al., ECCV 2022); they learn, and begin with drawn weights.
        with_cp: compute blocks again in the backward pass instead of keeping what they computed.
        init_cfg: see :class:`TimmBackbone`.
        **kwargs: further arguments of timm's ``create_model`` for this network. With
            ``dynamic_img_pad=True`` images that the patches do not divide are not resized:
            timm adds zeros below and at the right, and the maps reach beyond the image.

    Attributes:
        patch_size: height and width of a patch in pixels.
        out_channels: channels of the four maps.
        num_attn: number A of attention maps: heads times ``num_attn_blocks``.
        head_dim: channels of one attention head.
        has_qk: tells that ``with_qk`` is there.

    Raises:
        ValueError: if the network is none of the kind, or an argument is outside its range.

    Example:
        >>> backbone = TimmViT('deit_tiny_patch16_224')
        >>> feats, attn = backbone(torch.rand(1, 3, 64, 96), with_attn=True)
        >>> [tuple(f.shape) for f in feats]
        [(1, 192, 4, 6), (1, 192, 4, 6), (1, 192, 4, 6), (1, 192, 4, 6)]
        >>> tuple(attn.shape)
        (1, 6, 24, 24)
    """

    has_qk = True
    anchor = "patch_embed.proj.weight"

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
        num_attn_blocks: int = 2,
        frozen_stages: int = -1,
        freeze_pos_embed: bool = False,
        pyramid: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"TimmViT: drop_path_rate must be in [0, 1), got {drop_path_rate!r}")
        if kwargs.get("patch_drop_rate"):
            raise ValueError(
                "TimmViT: patch_drop_rate leaves tokens out, but maps need all of them"
            )
        if with_cp and use_reentrant_ckpt():
            raise ValueError(
                "TimmViT: with_cp would lose gradients of queries and keys with timm's reentrant "
                "checkpoints: unset the environment variable TIMM_REENTRANT_CKPT"
            )
        kwargs = {**kwargs, "dynamic_img_size": True}
        super().__init__(name, pretrained, init_cfg, drop_path_rate=drop_path_rate, **kwargs)
        depth = len(self.body.blocks)
        if depth < NUM_LEVELS:
            raise ValueError(f"TimmViT: {NUM_LEVELS} blocks or more are needed, {name} has {depth}")
        if not 1 <= num_attn_blocks <= depth:
            raise ValueError(
                f"TimmViT: num_attn_blocks must be 1 to {depth}, the blocks of {name}, "
                f"got {num_attn_blocks!r}"
            )
        if not -1 <= frozen_stages <= depth:
            raise ValueError(
                f"TimmViT: frozen_stages must be -1 to {depth}, the blocks of {name}, "
                f"got {frozen_stages!r}"
            )
        # CAMs and training see the same features where nothing is dropped, and no position moved.
        rope = getattr(self.body, "rope", None)
        moves = [getattr(rope, f"{kind}_coords", None) for kind in ("shift", "jitter", "rescale")]
        drops = [rate for key, rate in kwargs.items() if key.endswith("drop_rate")]
        self.drop_path_rate = None if any(moves + drops) else drop_path_rate
        self.frozen_stages = frozen_stages
        self.freeze_pos_embed = freeze_pos_embed
        self.pads = self.body.patch_embed.dynamic_img_pad
        self.body.set_grad_checkpointing(with_cp)
        self.patch_size = tuple(self.body.patch_embed.patch_size)
        self.indices = [math.ceil(depth * (i + 1) / NUM_LEVELS) - 1 for i in range(NUM_LEVELS)]
        self.attn_blocks = range(depth - num_attn_blocks, depth)
        attn = self.body.blocks[-1].attn
        self.head_dim = attn.head_dim
        self.num_attn = attn.num_heads * num_attn_blocks
        channels = self.body.embed_dim
        self.out_channels = (channels,) * NUM_LEVELS
        # Statistics of batches would be those of CAM passes too.
        norm = dict(type="GN", num_groups=math.gcd(_NORM_GROUPS, channels))
        neck = dict(type="Feature2Pyramid", embed_dim=channels, norm_cfg=norm)
        self.pyramid = MODELS.build(neck) if pyramid else None
        self.train()

    def _create(self, pretrained: bool = False) -> nn.Module:
        """Build timm's network, without what only its classifier needs."""
        if isinstance(self.name, str) and timm.is_model(self.name):
            family = model_entrypoint(self.name).__module__.rpartition(".")[2]
            if family not in _FAMILIES:
                raise self._not_plain(f"is of timm's family {family}")
        body = super()._create(pretrained)
        for block in body.blocks:
            attn = getattr(block, "attn", None)
            if type(attn) not in PLAIN_ATTENTION:
                kind = type(block if attn is None else attn).__name__
                raise self._not_plain(f"has blocks of another kind ({kind})")
        body.reset_classifier(0, "")
        if not isinstance(body.norm, nn.Identity):
            body.fc_norm = nn.Identity()
        return body

    def _not_plain(self, what: str) -> ValueError:
        return ValueError(
            f"TimmViT: {self.name} {what}, and hands out no queries and keys: take a plain vision "
            "transformer of timm (ViT, DeiT, DINO, DINOv2, DINOv3, CLIP, SigLIP, EVA-02), or "
            "TimmCNN for a convolutional network"
        )

    def _is_frozen(self, name: str) -> bool:
        """Whether a parameter of timm's network does not learn."""
        part, _, rest = name.partition(".")
        if part == "blocks":
            return int(rest.partition(".")[0]) < self.frozen_stages
        if part in ("norm", "fc_norm"):
            return self.frozen_stages == len(self.body.blocks)
        return self.frozen_stages >= 0 or (self.freeze_pos_embed and part == "pos_embed")

    def train(self, mode: bool = True) -> "TimmViT":
        """Switch to training or evaluation; what is frozen stays in evaluation mode."""
        super().train(mode)
        for name, parameter in self.body.named_parameters():
            if self._is_frozen(name):
                parameter.requires_grad_(False)
        for block in self.body.blocks[: max(self.frozen_stages, 0)]:
            block.eval()
        return self

    def check_crop(self, size: Sequence[int]) -> None:
        """Refuse training images (height, width) that the patches do not divide.

        Raises:
            ValueError: if they do not, and timm does not pad them.
        """
        pairs = list(zip(size, self.patch_size, strict=True))
        if self.pads or all(side % patch == 0 for side, patch in pairs):
            return
        crop, patch = (" x ".join(map(str, sides)) for sides in (size, self.patch_size))
        below = " x ".join(str(max(side // patch, 1) * patch) for side, patch in pairs)
        above = " x ".join(str(math.ceil(side / patch) * patch) for side, patch in pairs)
        raise ValueError(
            f"model.data_preprocessor.size: crops of {crop} pixels are no whole number of patches "
            f"of {self.name} ({patch}): take {below} or {above} there and in the crop of the "
            "pipeline (448 x 448 fits patches of 14 and of 16), or set "
            "model.backbone.dynamic_img_pad=True"
        )

    def forward(
        self, x: Tensor, with_attn: bool = False, drop_path: bool = True, with_qk: bool = False
    ) -> Any:
        """Compute the four maps.

        Args:
            x: normalised images (B, 3, H, W) of any size.
            with_attn: also give attention logits.
            drop_path: False computes as in evaluation, as CAMs need it: without stochastic depth.
            with_qk: also give what the logits are made of. Not together with ``with_attn``.

        Returns:
            Four maps (B, C, h, w). With ``with_attn`` a pair of these and of the logits q·kᵀ of the
            last blocks among patch tokens, before scaling and softmax, float32 (B, A, N, N), query
            by key, the heads of the earlier block first. (Their softmax is the network's own,
            which is over prefix tokens too, without these and divided by its new sum.) With
            ``with_qk`` a pair of the maps and of queries and keys, (B, A, N, head_dim) each.
        """
        assert not (with_attn and with_qk), "logits, or what they are made of"
        x = self._whole_patches(x)
        wanted = self.attn_blocks if with_attn or with_qk else ()
        attns = [self.body.blocks[i].attn for i in wanted]
        body, recorders = self.body, []
        if attns or (self.training and not drop_path):
            body, recorders = view_of(body, attns, evaluates=not drop_path)
        levels = body.forward_intermediates(
            x, indices=self.indices, output_fmt="NLC", intermediates_only=True
        )
        norm = body.fc_norm if isinstance(body.norm, nn.Identity) else body.norm
        grid = body.patch_embed.dynamic_feat_size(x.shape[2:])
        feats = tuple(tokens_to_map(norm(tokens), grid) for tokens in levels)
        if self.pyramid is not None:
            feats = (*self.pyramid(feats)[:-1], feats[-1])
        if not recorders:
            return feats
        found = [recorder.queries_and_keys() for recorder in recorders]
        cut = body.num_prefix_tokens
        if with_qk:
            q, k = (torch.cat(part, dim=1)[:, :, cut:] for part in zip(*found, strict=True))
            return feats, (q, k)
        with torch.autocast(x.device.type, enabled=False):
            logits = [q.float() @ k.float().transpose(2, 3) for q, k in found]
        return feats, torch.cat([block[:, :, cut:, cut:] for block in logits], dim=1)

    def _whole_patches(self, x: Tensor) -> Tensor:
        """Resize images (B, 3, H, W) to the next size that the patches divide; timm may pad."""
        pairs = zip(x.shape[2:], self.patch_size, strict=True)
        size = tuple(math.ceil(side / patch) * patch for side, patch in pairs)
        if self.pads or size == tuple(x.shape[2:]):
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

"""Queries and keys of timm's transformer blocks, while their attention stays fused.

Fused attention hands out nothing. What goes into the attention of a block is kept while the network
runs, and queries and keys are computed from it once more afterwards, by the same operations as in
timm: they are equal to the last bit. Nothing is put on the network for that: what runs is a *view*
of it, another tree of modules with the same weights, made for one forward pass. So nothing stays
behind, copies of the network carry nothing along, and other threads see nothing.

B images, N tokens (prefix tokens such as the class token come first), C channels, A heads, d
channels of a head.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn
from torch.nn import functional as F

# Their logits are queries times keys and nothing else: no relative positions, no convolution.
PLAIN_ATTENTION = (Attention, AttentionRope, EvaAttention)


def queries_and_keys(attn: Any, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute the queries and keys that an attention of timm makes of its input.

    Args:
        attn: One of `PLAIN_ATTENTION`.
        x: Its input (B, N, C), normed as the block does.
        rope: The rotary embedding that it was given, for the tokens behind the prefix.

    Returns:
        Queries and keys, (B, A, N, d) each, before any scaling.
    """

    def split_heads(t: Tensor) -> Tensor:  # (B, N, A * d) -> (B, A, N, d)
        return t.unflatten(-1, (-1, attn.head_dim)).transpose(1, 2)

    if attn.qkv is None:
        q, k = split_heads(attn.q_proj(x)), split_heads(attn.k_proj(x))
    else:
        q, k, _ = (split_heads(t) for t in _fused_projection(attn, x).chunk(3, dim=-1))
    dtype = q.dtype
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        prefix = attn.num_prefix_tokens
        q, k = (
            torch.cat(
                [
                    t[:, :, :prefix],
                    apply_rot_embed_cat(t[:, :, prefix:], rope, half=attn.rotate_half),
                ],
                dim=2,
            ).to(dtype)
            for t in (q, k)
        )
    # Fewer keys than queries: each key serves a group of heads.
    return q, k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)


def _fused_projection(attn: Any, x: Tensor) -> Tensor:
    """Queries, keys and values in one (B, N, 3 * A * d); EVA's biases lie beside the layer."""
    if getattr(attn, "q_bias", None) is None:
        return attn.qkv(x)
    bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    if attn.qkv_bias_separate:
        projected = attn.qkv(x)
        projected += bias  # in place, as there: under autocast the sum would be float32
        return projected
    return F.linear(x, attn.qkv.weight, bias)


class AttentionRecorder(nn.Module):
    """Runs an attention and keeps what it was given first.

    Under gradient checkpointing a block runs again in the backward pass; that input is not kept.
    """

    attn: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """See the attention."""
        if not self.inputs:
            self.inputs.append((x, kwargs.get("rope")))
        return self.attn(x, **kwargs)

    def queries_and_keys(self) -> tuple[Tensor, Tensor]:
        """Compute queries and keys (B, A, N, d) of what went through."""
        return queries_and_keys(self.attn, *self.inputs[0])


@torch.compiler.disable
def view_of(
    module: nn.Module, watched: Sequence[nn.Module] = (), evaluates: bool = False
) -> tuple[nn.Module, list[AttentionRecorder]]:
    """Give a view of a module, for one forward pass: the same weights in another tree.

    Args:
        module: What is to be run; it stays as it is.
        watched: Attentions in it, each one of `PLAIN_ATTENTION`, whose input is to be kept.
        evaluates: The view is in evaluation mode, whatever the module is: without stochastic depth
            and dropout.

    Returns:
        The view, and a recorder for each of `watched`.
    """
    recorders = {attn: AttentionRecorder() for attn in watched}
    return _view(module, recorders, evaluates), list(recorders.values())


def _view(
    module: nn.Module, recorders: Mapping[nn.Module, AttentionRecorder], evaluates: bool
) -> nn.Module:
    """Copy a module as far as something in it differs."""
    parts = {
        name: part and _view(part, recorders, evaluates) for name, part in module._modules.items()
    }
    view = module
    switched = evaluates and module.training
    if switched or any(part is not module._modules[name] for name, part in parts.items()):
        view = copy.copy(module)  # shallow: the same parameters, buffers and hooks
        view._modules = parts
        view.training = module.training and not evaluates
    if module not in recorders:
        return view
    recorders[module].attn = view
    return recorders[module]

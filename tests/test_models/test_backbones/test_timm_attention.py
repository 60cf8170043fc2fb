"""Queries and keys are those that timm's blocks use, and a view leaves the network as it is."""

import copy
import threading

import pytest
import torch
from timm.layers import Attention, AttentionRope, DropPath
from timm.models.eva import EvaAttention
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn import functional as F
from toy_vit import draw

from afa.models.backbones.timm_attention import queries_and_keys, view_of

NORM = dict(norm_layer=nn.LayerNorm, qk_norm=True)
GATED = dict(norm_layer=nn.LayerNorm, scale_norm=True, gated=True)
ATTENTIONS = {
    "fused": lambda: Attention(32, 2, qkv_bias=True),
    "without bias": lambda: Attention(32, 2),
    "normed": lambda: Attention(32, 2, qkv_bias=True, **NORM),
    "gated": lambda: Attention(32, 2, **GATED),
    "head size": lambda: Attention(32, 2, attn_head_dim=8),
    "eva": lambda: EvaAttention(32, 2, scale_norm=False),
    "eva, bias added": lambda: EvaAttention(32, 2, qkv_bias_separate=True, scale_norm=False),
    "eva, without bias": lambda: EvaAttention(32, 2, qkv_bias=False, scale_norm=False),
    "eva, separate": lambda: EvaAttention(32, 2, qkv_fused=False, scale_norm=False),
    "eva, normed": lambda: EvaAttention(32, 2, scale_norm=False, **NORM),
    "rotary": lambda: AttentionRope(32, 2, num_prefix_tokens=2),
    "rotary, in halves": lambda: AttentionRope(32, 2, num_prefix_tokens=2, rotate_half=True),
    "rotary, separate": lambda: AttentionRope(32, 2, qkv_fused=False, num_prefix_tokens=2, **NORM),
    "rotary, few keys": lambda: AttentionRope(
        32, 4, qkv_fused=False, num_kv_heads=2, num_prefix_tokens=0
    ),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_queries_and_keys_are_those_that_the_attention_uses(kind, autocast, monkeypatch):
    attn, x = draw(ATTENTIONS[kind]()), torch.randn(2, 7, 32)
    rotary = not isinstance(attn, Attention)
    rope = torch.randn(7 - attn.num_prefix_tokens, 2 * attn.head_dim) if rotary else None
    used, fused = [], F.scaled_dot_product_attention

    def spy(q, k, v, **kwargs):
        used.extend([q, k])
        return fused(q, k, v, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        attn(x, **(dict(rope=rope) if rotary else {}))
        found = queries_and_keys(attn, x, rope)
    assert len(used) == 2
    for ours, theirs in zip(found, used, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def small_network():
    blocks = (Block(16, 2, drop_path=0.5, proj_drop=0.2) for _ in range(3))
    return draw(nn.Sequential(*blocks)).train()


def test_a_view_runs_the_same_weights_and_leaves_nothing_behind():
    network, x = small_network(), torch.randn(2, 5, 16)
    before = dict(network.named_modules())
    view, (recorder,) = view_of(network, [network[1].attn], evaluates=True)
    out = view(x)
    assert torch.equal(out, copy.deepcopy(network).eval()(x))
    given = copy.deepcopy(network).eval()[:1](x)
    expected = queries_and_keys(network[1].attn, network[1].norm1(given))
    for ours, theirs in zip(recorder.queries_and_keys(), expected, strict=True):
        assert torch.equal(ours, theirs)
    assert dict(network.named_modules()) == before
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert next(iter(view.parameters())) is next(network.parameters())
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_view_of_nothing_is_the_module_itself():
    network = small_network()
    assert view_of(network) == (network, [])
    assert view_of(network.eval(), evaluates=True) == (network, [])


def test_a_view_for_training_drops_as_the_module_does():
    network, x = small_network(), torch.randn(2, 5, 16)
    view, _ = view_of(network, [network[2].attn])
    torch.manual_seed(1)
    expected = network(x)
    torch.manual_seed(1)
    assert torch.equal(view(x), expected)
    assert not torch.equal(view(x), expected)


def test_another_thread_trains_while_a_view_evaluates():
    """Between the two blocks of the view the other thread looks at the network."""
    network, x, seen = small_network(), torch.randn(2, 5, 16), []

    def look():
        drops = [m for m in network.modules() if isinstance(m, DropPath)]
        seen.append(all(drop.training for drop in drops) and len(drops) == 6)

    def meanwhile(*_):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    network[1].register_forward_hook(meanwhile)
    view, recorders = view_of(network, [network[1].attn], evaluates=True)
    view(x)
    assert seen == [True]
    assert len(recorders[0].inputs) == 1


def test_compiled_code_serves_every_view():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = draw(Block(16, 2, drop_path=0.5))

        def forward(self, x):
            block, (recorder,) = view_of(self.block, [self.block.attn], evaluates=True)
            return block(x), recorder.queries_and_keys()[0]

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    network, x, graphs = Network().train(), torch.randn(2, 5, 16), []
    expected = network(x)
    network.compile(backend=backend)
    found = [network(x) for _ in range(3)]
    assert len(graphs) == 1
    for out in found:
        assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))

import math

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from afa.models.affinity_heads import AttentionAffinityHead, FeatureAffinityHead
from afa.models.functional import pair_affinity, pair_offsets
from afa.models.functional.pair_affinity import pairs_inside


def test_affinity_is_the_formula():
    head = AttentionAffinityHead(in_channels=3)
    attn = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        affinity = head(attn)
    weight, bias = head.proj.weight.flatten().tolist(), head.proj.bias.item()
    for b in range(2):
        for i in range(4):
            for j in range(4):
                both = [float(attn[b, a, i, j] + attn[b, a, j, i]) for a in range(3)]
                logit = sum(w * s for w, s in zip(weight, both, strict=True)) + bias
                expected = 1 / (1 + math.exp(-logit))
                assert affinity[b, i, j].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2))
    torch.testing.assert_close(head.proj(attn + attn.transpose(2, 3))[:, 0].sigmoid(), affinity)


def test_affinity_by_hand():
    head = AttentionAffinityHead(in_channels=1)
    head.proj.weight.data.fill_(2.0)
    head.proj.bias.data.fill_(-2.0)
    affinity = head(torch.tensor([[[[0.5, 0.0], [1.0, 1.0]]]]))
    expected = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]]).sigmoid()
    torch.testing.assert_close(affinity, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_and_keys_give_the_affinity_and_gradients_of_their_logits(dtype):
    head = AttentionAffinityHead(in_channels=3)
    q, k = (torch.randn(2, 3, 5, 4, dtype=dtype, requires_grad=True) for _ in range(2))
    found = []
    for attn in (q.float() @ k.float().transpose(2, 3), (q, k)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            affinity = head(attn)
        leaves = [q, k, head.proj.weight]
        found.append((affinity, *torch.autograd.grad(affinity.square().sum(), leaves)))
    assert found[1][0].dtype == torch.float32
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_teaches_the_attention():
    head = AttentionAffinityHead(in_channels=2)
    head.init_weights()
    attn = torch.zeros(1, 2, 2, 2, requires_grad=True)
    label = torch.tensor([[[1, 0], [0, 255]]])
    head.loss_aff(head(attn), label).backward()
    # d/da: -1/2 / (1 + 1) for the positive, 1/2 / (2 + 1) for each of the two negatives; sigmoid'
    # at the bias; S + S^T doubles
    share = head.proj.bias.detach().sigmoid()
    slope = torch.tensor([[-1 / 4, 1 / 6], [1 / 6, 0]]) * share * (1 - share) * 2
    expected = head.proj.weight.detach().view(1, 2, 1, 1) * slope
    torch.testing.assert_close(attn.grad, expected)
    assert head.proj.weight.grad is not None
    grad = (-1 / 4 + 2 / 6) * (share * (1 - share)).item()
    assert head.proj.bias.grad.item() == pytest.approx(grad)


def test_float32_under_autocast():
    head = AttentionAffinityHead(in_channels=4)
    attn = 30 * torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(attn)
    assert inside.dtype == torch.float32 and torch.equal(inside, head(attn))


def test_weights_and_settings():
    head = AttentionAffinityHead(16, loss_aff=dict(type="AffinityLoss", loss_weight=0.1))
    shapes = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    assert shapes == {"proj.weight": (1, 16, 1, 1), "proj.bias": (1,)}
    assert head.loss_aff.loss_weight == 0.1


def test_it_starts_as_in_the_authors_program():
    torch.manual_seed(0)
    heads = [AttentionAffinityHead(1000) for _ in range(20)]
    for head in heads:
        head.init_weights()
    weights = torch.cat([head.proj.weight.flatten() for head in heads])
    # Kaiming normal, fan out 1, a^2 = 5: deviation sqrt(2 / 6); the bias is torch's own
    assert weights.std().item() == pytest.approx(3**-0.5, rel=0.02)
    assert (weights.abs() > 3 * weights.std()).any()  # a uniform distribution ends at 1.73
    assert all(0 < head.proj.bias.abs().item() <= 1000**-0.5 for head in heads)


def _feats(batch=2):
    return (
        torch.randn(batch, 3, 8, 6),
        torch.randn(batch, 4, 4, 3),
        torch.randn(batch, 5, 4, 3),
        torch.randn(batch, 6, 4, 3),
    )


def _head(**changes):
    cfg = dict(in_channels=(4, 5, 6), channels=(2, 2, 3), in_index=(1, 2, 3), radius=3)
    return FeatureAffinityHead(**{**cfg, **changes})


def test_registered():
    assert MODELS.get("FeatureAffinityHead") is FeatureAffinityHead


def test_published_sizes():
    program = FeatureAffinityHead((512, 1024, 4096))
    assert program.fuse.weight.shape == (448, 448, 1, 1) and len(program.offsets) == 34
    paper = FeatureAffinityHead((512, 1024, 4096), (128, 256, 512), distance="sum")
    assert paper.fuse.weight.shape == (896, 896, 1, 1)


def _affinity_by_loop(head, feats):
    """1x1 convolution of each level, concatenation, 1x1 convolution; exp of minus the mean gap."""
    B, _, h, w = feats[1].shape
    out = torch.zeros(B, len(head.offsets), h, w)

    def embed(b, y, x):
        levels = [
            nn.functional.elu(proj.weight[:, :, 0, 0] @ feats[index][b, :, y, x])
            for index, proj in zip(head.in_index, head.projs, strict=True)
        ]
        return nn.functional.elu(head.fuse.weight[:, :, 0, 0] @ torch.cat(levels))

    for b in range(B):
        for p, (dy, dx) in enumerate(head.offsets):
            for y in range(h):
                for x in range(w):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        gap = (embed(b, y, x) - embed(b, y + dy, x + dx)).abs()
                        gap = gap.mean() if head.distance == "mean" else gap.sum()
                        out[b, p, y, x] = torch.exp(-gap)
    return out


@pytest.mark.parametrize("distance", ["mean", "sum"])
def test_affinity_is_the_formula_of_features(distance):
    head, feats = _head(distance=distance), _feats()
    head.init_weights()
    with torch.no_grad():
        torch.testing.assert_close(
            head(feats), _affinity_by_loop(head, feats), rtol=1e-5, atol=1e-6
        )


def test_distances_are_the_logarithm_of_the_affinity():
    head, feats = _head(), _feats()
    with torch.no_grad():
        distances = head.distances(feats)
        assert torch.equal(head(feats), pair_affinity(distances, head.offsets))
        inside = pairs_inside((4, 3), head.offsets)
        assert not distances[:, ~inside].any() and distances[:, inside].gt(0).all()


def test_without_activation_it_is_linear():
    head, feats = _head(act=None), _feats()
    with torch.no_grad():
        double = head.embed([2 * feat for feat in feats])
        torch.testing.assert_close(double, 2 * head.embed(feats))
        bent = _head()
        assert not torch.allclose(bent.embed([2 * feat for feat in feats]), 2 * bent.embed(feats))


def test_the_grid_is_that_of_the_first_level():
    head = _head(in_channels=(3, 4, 6), in_index=(0, 1, 3))
    assert head(_feats()).shape == (2, 12, 8, 6)
    coarse = _head(in_channels=(4, 3), channels=(2, 2), in_index=(1, 0))
    assert coarse(_feats()).shape == (2, 12, 4, 3)


def test_a_coarse_level_is_resized():
    head = _head(in_channels=(3, 4), channels=(2, 2), in_index=(0, 1), act=None)
    with torch.no_grad():
        head.fuse.weight.copy_(torch.eye(4)[:, :, None, None])
        feats = _feats()
        expected = nn.functional.interpolate(
            head.projs[1](feats[1]), size=(8, 6), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(head.embed(feats)[:, 2:], expected)


def test_every_part_learns_the_levels_too():
    head, feats = _head(), [feat.requires_grad_() for feat in _feats()]
    head.distances(feats).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert feats[0].grad is None  # not used
    assert all(feat.grad.abs().sum() > 0 for feat in feats[1:])


def test_one_token():
    feats = [torch.randn(1, channels, 1, 1) for channels in (3, 4, 5, 6)]
    assert not _head()(feats).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(channels=(2, 2)), "same levels, got"),
        (dict(in_channels=(), channels=(), in_index=()), "same levels, got"),
        (dict(distance="max"), "'mean', 'sum'.*, got 'max'"),
        (dict(radius=1), "2 tokens or more .*, got 1"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        _head(**changes)


def test_a_level_that_the_backbone_does_not_give():
    with pytest.raises(ValueError, match="asks for level 3, but the backbone gives 3 levels"):
        _head()(_feats()[:3])


def test_offsets():
    assert _head().offsets == pair_offsets(3)

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from afa.models.affinity_heads import FeatureAffinityHead
from afa.models.functional import pair_affinity, pair_offsets
from afa.models.functional.pair_affinity import pairs_inside


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
def test_affinity_is_the_formula(distance):
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

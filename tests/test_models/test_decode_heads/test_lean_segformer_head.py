import pytest
import torch
from mmseg.registry import MODELS

SIZES = [(12, 10), (6, 5), (3, 3), (3, 3)]


def _heads(**changes):
    torch.manual_seed(0)
    cfg = dict(
        in_channels=[4, 6, 8, 10], in_index=[0, 1, 2, 3], channels=16, dropout_ratio=0.0,
        num_classes=5, norm_cfg=dict(type="BN"), act_cfg=None, align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    )  # fmt: skip
    lean, plain = (
        MODELS.build({**cfg, **changes, "type": kind})
        for kind in ("LeanSegformerHead", "SegformerHead")
    )
    lean.load_state_dict(plain.state_dict())  # the same names and shapes
    return lean, plain


def _feats():
    generator = torch.Generator().manual_seed(1)
    channels = zip((4, 6, 8, 10), SIZES, strict=True)
    return [torch.randn(2, c, *s, generator=generator, requires_grad=True) for c, s in channels]


@pytest.mark.parametrize(
    "changes", [{}, dict(align_corners=True), dict(interpolate_mode="nearest", act_cfg=None)]
)
@pytest.mark.parametrize("training", [True, False])
def test_logits_gradients_and_statistics_are_mmsegs(changes, training):
    if changes.get("interpolate_mode") == "nearest":
        changes = {**changes, "align_corners": None}
    results = []
    for head in _heads(**changes):
        head.train(training)
        feats = _feats()
        logits = head(feats)
        logits.square().sum().backward()
        grads = [f.grad for f in feats] + [p.grad for p in head.parameters()]
        results.append([logits, *grads, head.fusion_conv.bn.running_var])
    assert results[0][0].shape == (2, 5, 12, 10)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_only_the_used_stages_enter():
    lean, plain = _heads(in_channels=[6, 10], in_index=[1, 3])
    feats = _feats()
    torch.testing.assert_close(lean(feats), plain(feats))
    assert lean(feats).shape[2:] == SIZES[1]

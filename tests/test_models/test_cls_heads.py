import math

import pytest
import torch
from mmseg.registry import MODELS

from afa.models.cls_heads import CAMHead, SubCategoryHead

FEAT = torch.tensor([[[[1.0, 5.0], [3.0, 7.0]], [[2.0, 2.0], [-4.0, 0.0]]]])


def _head(**kwargs):
    head = CAMHead(in_channels=2, num_classes=3, **kwargs)
    weight = torch.tensor([[1.0, 0.0], [2.0, -1.0]])
    head.classifier.weight.data = weight[:, :, None, None]
    return head


@pytest.mark.parametrize(
    ("kwargs", "pooled"),
    [
        (dict(), (7, 2)),
        (dict(pooling="avg"), (4, 0)),
        (dict(pooling="topk", topk=0.5), (6, 2)),
        (dict(pooling="topk", topk=0.01), (7, 2)),  # at least one token
    ],
)
def test_logits_by_hand(kwargs, pooled):
    a, b = pooled
    assert _head(**kwargs)(FEAT).tolist() == [[a, 2 * a - b]]


def test_class_maps_by_hand():
    maps = _head().class_maps(FEAT)
    assert maps.tolist() == [[[[1, 5], [3, 7]], [[0, 8], [10, 14]]]]


def test_pooling_of_the_maps_and_a_bias_that_maps_leave_out():
    head = _head(pooling="map", bias=True)
    head.classifier.bias.data = torch.tensor([0.5, -3.0])
    # The largest token of each class map: 7 and 14; pooled features would give 7 and 12.
    assert head(FEAT).tolist() == [[7.5, 11.0]]
    assert head.class_maps(FEAT).tolist() == [[[[1, 5], [3, 7]], [[0, 8], [10, 14]]]]


def test_average_of_the_class_maps_is_the_logit_of_average_pooling():
    head = CAMHead(in_channels=6, num_classes=4, pooling="avg")
    feat = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(head.class_maps(feat).mean(dim=(2, 3)), head(feat))


def test_hidden_convolution_stands_before_pooling_and_maps():
    head = CAMHead(2, 3, pooling="avg", hidden_channels=1)
    head.classifier.weight.data = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
    kernel = torch.zeros(1, 2, 3, 3)
    kernel[0, 0, 1, 2] = 1.0  # the token to the right of the first channel
    head.hidden[0].weight.data, head.hidden[0].bias.data = kernel, torch.tensor([-1.0])
    # Channel 0 is 1 5 / 3 7: shifted to the left 5 0 / 7 0, minus 1, ReLU: 4 0 / 6 0.
    assert head.embed(FEAT).tolist() == [[[[4, 0], [6, 0]]]]
    assert head(FEAT).tolist() == [[2.5, -5]]
    assert head.class_maps(FEAT).tolist() == [[[[4, 0], [6, 0]], [[-8, 0], [-12, 0]]]]


def test_dropout_drops_whole_channels_in_training_and_never_in_maps():
    head = CAMHead(64, 2, pooling="avg", dropout_ratio=0.5)
    head.classifier.weight.data.fill_(1.0)
    feat = torch.ones(1, 64, 2, 2)
    assert torch.equal(head.class_maps(feat), torch.full((1, 1, 2, 2), 64.0))
    kept = head(feat).item() / 2  # what is kept is doubled
    assert kept == int(kept) and 16 < kept < 48
    assert head.eval()(feat).item() == 64


def test_gradient_of_max_pooling_reaches_the_largest_token_only():
    feat = FEAT.clone().requires_grad_()
    _head()(feat)[0, 0].backward()
    assert feat.grad.flatten(2).tolist() == [[[0, 0, 0, 1], [0, 0, 0, 0]]]


def test_loss_is_the_multi_label_soft_margin():
    logits, labels = torch.randn(2, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    terms = []
    for logit, label in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        sigmoid = 1 / (1 + math.exp(-logit))
        terms.append(-math.log(sigmoid if label else 1 - sigmoid))
    loss = _head(loss_weight=2.0).loss(logits.bfloat16().float(), labels)
    expected = _head().loss(logits, labels)
    assert expected.item() == pytest.approx(sum(terms) / 6, rel=1e-5)
    assert loss.item() == pytest.approx(2 * expected.item(), rel=1e-2)


def test_weights():
    head = CAMHead(in_channels=25, num_classes=8)
    head.init_weights()
    assert {k: tuple(v.shape) for k, v in head.state_dict().items()} == {
        "classifier.weight": (7, 25, 1, 1)
    }
    largest = head.classifier.weight.abs().max().item()
    assert 0.19 < largest <= 1 / 25**0.5  # torch's own: uniform, as in the AFA program


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        (dict(pooling="gmp"), r"must be one of \('max', 'avg', 'topk', 'map'\), got 'gmp'"),
        (dict(num_classes=1), "counts the background too and must be at least 2, got 1"),
        (dict(topk=0.0), r"share of the tokens in \(0, 1\], got 0.0"),
        (dict(topk=1.5), "got 1.5"),
    ],
)
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ValueError, match=text):
        CAMHead(**{"in_channels": 4, "num_classes": 3, **kwargs})


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("hidden", [None, 5])
def test_image_features_are_what_is_classified(pooling, hidden):
    head = CAMHead(4, 3, pooling, hidden_channels=hidden, dropout_ratio=0.5)
    feat = torch.randn(2, 4, 3, 3)
    vectors = head.image_features(feat)  # dropout is left out
    assert vectors.shape == (2, hidden or 4)
    torch.testing.assert_close(
        vectors @ head.classifier.weight.flatten(1).t(), head.eval()(feat), rtol=1e-5, atol=1e-6
    )


def test_image_features_where_maps_are_classified():
    feat = torch.tensor([[[[1.0, 2.0], [3.0, 8.0]]]])
    assert CAMHead(1, 2, "map", topk=0.5).image_features(feat).item() == 5.5


def test_registered():
    assert MODELS.get("SubCategoryHead") is SubCategoryHead


def test_published_values():
    head = SubCategoryHead(4096, 21)
    assert head.classifier.weight.shape == (200, 4096, 1, 1) and head.classifier.bias is None
    assert (head.num_sub, head.loss_weight, head.pooling) == (10, 5, "avg")


def test_logits_are_the_classifier_on_the_mean():
    head, feat = SubCategoryHead(4, 3, num_sub=5), torch.randn(2, 4, 3, 3)
    logits = head(feat)
    assert logits.shape == (2, 10)
    weight = head.classifier.weight[:, :, 0, 0]
    for b in range(2):
        mean = torch.stack([feat[b, c].mean() for c in range(4)])
        torch.testing.assert_close(logits[b], weight @ mean, rtol=1e-5, atol=1e-6)


def _loss_by_loop(logits, labels):
    total = 0.0
    for z, y in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        total += math.log(1 + math.exp(-z)) if y else math.log(1 + math.exp(z))
    return total / logits.numel()


@pytest.mark.parametrize("weight", [5.0, 0.5])
def test_loss_is_lambda_times_the_formula(weight):
    head = SubCategoryHead(4, 3, num_sub=2, loss_weight=weight)
    logits, labels = torch.randn(3, 4, requires_grad=True), torch.zeros(3, 4)
    labels[0, 1] = labels[1, 2] = 1  # the third image has no class at all
    loss = head.loss(logits, labels)
    assert loss.item() == pytest.approx(weight * _loss_by_loop(logits, labels), rel=1e-5)
    loss.backward()
    expected = weight * (logits.detach().sigmoid() - labels) / 12
    torch.testing.assert_close(logits.grad, expected)


def test_wrong_number_of_labels():
    with pytest.raises(ValueError, match=r"has 4 sub-categories in all, .* have 6"):
        SubCategoryHead(4, 3, num_sub=2).loss(torch.zeros(1, 4), torch.zeros(1, 6))


@pytest.mark.parametrize(("num_classes", "num_sub"), [(1, 10), (3, 0)])
def test_wrong_arguments_of_sub_categories(num_classes, num_sub):
    with pytest.raises(ValueError, match=f"got {num_classes} and {num_sub}"):
        SubCategoryHead(4, num_classes, num_sub=num_sub)


def test_pooling_is_that_of_the_cam_head():
    feat = torch.randn(2, 4, 3, 3)
    for pooling in ("max", "topk"):
        parent, head = CAMHead(4, 5, pooling), SubCategoryHead(4, 3, 2, pooling)
        head.load_state_dict(parent.state_dict())
        torch.testing.assert_close(head(feat), parent(feat))

import math

import pytest
import torch
from mmseg.registry import MODELS

from afa.models.cls_heads import CAMHead, SubCategoryHead


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
def test_wrong_arguments(num_classes, num_sub):
    with pytest.raises(ValueError, match=f"got {num_classes} and {num_sub}"):
        SubCategoryHead(4, num_classes, num_sub=num_sub)


def test_pooling_is_that_of_the_cam_head():
    feat = torch.randn(2, 4, 3, 3)
    for pooling in ("max", "topk"):
        parent, head = CAMHead(4, 5, pooling), SubCategoryHead(4, 3, 2, pooling)
        head.load_state_dict(parent.state_dict())
        torch.testing.assert_close(head(feat), parent(feat))

import math

import pytest
import torch

from afa.models.losses import BalancedCrossEntropyLoss


def _loss_by_loop(logits, label, weight=None):
    kinds = {"background": [], "foreground": []}
    B, C, H, W = logits.shape
    for b in range(B):
        for y in range(H):
            for x in range(W):
                target = int(label[b, y, x])
                if target == 255:
                    continue
                exps = [math.exp(float(logits[b, c, y, x])) for c in range(C)]
                entropy = -math.log(exps[target] / sum(exps))
                factor = 1.0 if weight is None else float(weight[b, y, x])
                kinds["foreground" if target else "background"].append(factor * entropy)
    return sum(0.5 * sum(part) / len(part) for part in kinds.values() if part)


@pytest.mark.parametrize("kinds", [(0, 1, 3, 255), (0, 255), (2, 255), (255,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_the_formula(kinds, weighted):
    logits = torch.randn(2, 4, 3, 4)
    label = torch.tensor(kinds)[torch.randint(0, len(kinds), (2, 3, 4))]
    weight = torch.rand(2, 3, 4) if weighted else None
    loss = BalancedCrossEntropyLoss()(logits, label, weight)
    assert loss.item() == pytest.approx(_loss_by_loop(logits, label, weight), rel=1e-5)


def test_loss_by_hand():
    # Two background pixels with probability 1/2, one foreground pixel with 1/4.
    logits = torch.tensor([[0.0, 0, math.log(3)], [0, 0, 0]]).view(1, 2, 1, 3).requires_grad_()
    loss = BalancedCrossEntropyLoss()(logits, torch.tensor([[[0, 0, 1]]]))
    assert loss.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))
    loss.backward()
    # (probability - target) times 1/2 over the number of its kind
    expected = torch.tensor([[-0.125, -0.125, 0.375], [0.125, 0.125, -0.375]])
    torch.testing.assert_close(logits.grad, expected.view(1, 2, 1, 3))


def test_undecided_pixels_only_are_zero_with_zero_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = BalancedCrossEntropyLoss()(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_weight_name_and_precision():
    logits, label = torch.randn(1, 3, 2, 2), torch.randint(0, 3, (1, 2, 2))
    plain = BalancedCrossEntropyLoss()(logits, label)
    half = BalancedCrossEntropyLoss(loss_weight=0.5, loss_name="loss_seg")
    torch.testing.assert_close(half(logits, label), 0.5 * plain)
    assert half.loss_name == "loss_seg"
    assert half(logits.bfloat16(), label).dtype == torch.float32
    other = BalancedCrossEntropyLoss()(logits, label.masked_fill(label == 2, 9), ignore_index=9)
    assert other.item() == pytest.approx(_loss_by_loop(logits, label.masked_fill(label == 2, 255)))

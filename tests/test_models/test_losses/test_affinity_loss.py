import pytest
import torch

from afa.models.losses import AffinityLoss, affinity_loss


def _loss_by_loop(affinity, label):
    pairs = list(zip(affinity.flatten().tolist(), label.flatten().tolist(), strict=True))
    positive = [1 - a for a, y in pairs if y == 1]
    negative = [a for a, y in pairs if y == 0]
    return sum(0.5 * sum(part) / (len(part) + 1) for part in (positive, negative))


@pytest.mark.parametrize("kinds", [(0, 1, 255), (1, 255), (0, 255), (255,)])
def test_affinity_loss_is_the_formula(kinds):
    affinity = torch.rand(2, 4, 4)
    label = torch.tensor(kinds)[torch.randint(0, len(kinds), (2, 4, 4))]
    expected = _loss_by_loop(affinity, label)
    assert affinity_loss(affinity, label).item() == pytest.approx(expected, rel=1e-5)


def test_affinity_loss_by_hand():
    affinity = torch.tensor([[[0.9, 0.4], [0.2, 0.5]]], requires_grad=True)
    label = torch.tensor([[[1, 0], [0, 1]]])
    loss = affinity_loss(affinity, label)
    assert loss.item() == pytest.approx(0.5 * (0.1 + 0.5) / 3 + 0.5 * (0.4 + 0.2) / 3)
    loss.backward()
    torch.testing.assert_close(affinity.grad, torch.tensor([[[-1, 1], [1, -1]]]) / 6)


def test_the_gradient_does_not_depend_on_the_affinity():
    label = torch.tensor([[[1, 0, 255], [1, 1, 0], [0, 0, 0]]])
    slopes = []
    for value in (1e-6, 0.3, 1.0):
        affinity = torch.full((1, 3, 3), value, requires_grad=True)
        affinity_loss(affinity, label).backward()
        slopes.append(affinity.grad)
    assert torch.equal(slopes[0], slopes[1]) and torch.equal(slopes[0], slopes[2])
    assert slopes[0][0, 0, 2] == 0
    assert slopes[0][label == 1].sum().item() == pytest.approx(-0.5 * 3 / 4)
    assert slopes[0][label == 0].sum().item() == pytest.approx(0.5 * 5 / 6)


def test_nothing_to_learn_from_is_zero_with_zero_gradient():
    affinity = torch.rand(1, 2, 2, requires_grad=True)
    loss = affinity_loss(affinity, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss.item() == 0 and not affinity.grad.any()


def test_module_weighs():
    affinity, label = torch.rand(1, 3, 3), torch.randint(0, 2, (1, 3, 3))
    loss = AffinityLoss(loss_weight=0.1)(affinity, label)
    torch.testing.assert_close(loss, 0.1 * affinity_loss(affinity, label))

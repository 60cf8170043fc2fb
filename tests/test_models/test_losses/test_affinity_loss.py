import math
from itertools import combinations

import pytest
import torch
from mmseg.registry import MODELS

from afa.models.functional.pair_affinity import PAIR_BACKGROUND, PAIR_FOREGROUND, PAIR_NEGATIVE
from afa.models.losses import AffinityLoss, PairAffinityLoss, affinity_loss, pair_affinity_loss


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


KINDS = (PAIR_BACKGROUND, PAIR_FOREGROUND, PAIR_NEGATIVE)


def _loss_by_loop_of_pairs(affinity, label):
    """1/4 bg+ + 1/4 fg+ + 1/2 neg of log terms of the affinity."""
    pairs = list(zip(affinity.flatten().tolist(), label.flatten().tolist(), strict=True))
    terms = {
        PAIR_BACKGROUND: (0.25, lambda a: -math.log(a)),
        PAIR_FOREGROUND: (0.25, lambda a: -math.log(a)),
        PAIR_NEGATIVE: (0.5, lambda a: -math.log(1 - a)),
    }
    loss = 0.0
    for kind, (weight, term) in terms.items():
        values = [term(a) for a, y in pairs if y == kind]
        if values:
            loss += weight * sum(values) / len(values)
    return loss


@pytest.mark.parametrize("count", range(4))
def test_loss_is_the_formula(count):
    for kinds in combinations(KINDS, count):
        choice = torch.tensor([*kinds, 255])
        distances = 0.2 + 3 * torch.rand(2, 5, 4, 4, dtype=torch.float64)
        label = choice[torch.randint(0, len(choice), distances.shape)]
        expected = _loss_by_loop_of_pairs(torch.exp(-distances), label)
        assert pair_affinity_loss(distances, label, eps=1e-12).item() == pytest.approx(
            expected, rel=1e-5
        )
        # the loss as it is used differs by its eps only
        assert pair_affinity_loss(distances.float(), label).item() == pytest.approx(
            expected, abs=5e-5
        )


def test_loss_by_hand():
    distances = torch.tensor([[[[0.3, 0.1, 0.7, math.log(2), 9.0]]]], requires_grad=True)
    label = torch.tensor(
        [[[[PAIR_BACKGROUND, PAIR_BACKGROUND, PAIR_FOREGROUND, PAIR_NEGATIVE, 255]]]]
    )
    loss = pair_affinity_loss(distances, label)
    assert loss.item() == pytest.approx(0.25 * 0.2 + 0.25 * 0.7 + 0.5 * math.log(2), abs=2e-5)
    loss.backward()
    # the slope of -log(1 - exp(-d)) is -exp(-d) / (1 - exp(-d)): -1 at log 2
    expected = torch.tensor([[[[0.125, 0.125, 0.25, -0.5, 0]]]])
    torch.testing.assert_close(distances.grad, expected, atol=5e-5, rtol=0)


def test_gradient():
    distances = (0.1 + torch.rand(1, 3, 2, 2, dtype=torch.float64)).requires_grad_()
    label = torch.tensor([*KINDS, 255])[torch.randint(0, 4, distances.shape)]
    # The sums are in float32, so that the steps must not be too small.
    assert torch.autograd.gradcheck(
        lambda d: pair_affinity_loss(d, label), distances, eps=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("value", [255, *KINDS])
@pytest.mark.parametrize("distance", [0.0, 1e-9, 50.0, 1e4])
def test_one_kind_only_and_extreme_distances_are_finite(value, distance):
    distances = torch.full((1, 2, 3, 3), distance, requires_grad=True)
    loss = pair_affinity_loss(distances, torch.full((1, 2, 3, 3), value))
    loss.backward()
    assert loss.isfinite() and distances.grad.isfinite().all()
    if value == 255:
        assert loss.item() == 0 and not distances.grad.any()


def test_pairs_without_any_affinity_still_learn():
    distances = torch.full((1, 1, 1, 1), 500.0, requires_grad=True)  # exp(-500) is 0
    pair_affinity_loss(distances, torch.full((1, 1, 1, 1), PAIR_FOREGROUND)).backward()
    assert distances.grad.item() == 0.25


def test_no_pair_at_all():
    distances = torch.zeros(1, 0, 2, 2, requires_grad=True)
    loss = pair_affinity_loss(distances, torch.zeros(1, 0, 2, 2, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_module_weighs_of_pairs():
    distances, label = torch.rand(1, 3, 2, 2), torch.randint(0, 3, (1, 3, 2, 2))
    module = MODELS.build(dict(type="PairAffinityLoss", loss_weight=3, eps=1e-3))
    assert isinstance(module, PairAffinityLoss)
    torch.testing.assert_close(
        module(distances, label), 3 * pair_affinity_loss(distances, label, eps=1e-3)
    )


def test_eps_must_be_above_zero():
    with pytest.raises(ValueError, match="eps must be above 0, got 0"):
        PairAffinityLoss(eps=0)

import math

import pytest
import torch

from afa.models.losses.dense_energy_loss import dense_energy
from afa.testing.plain_energy import plain_dense_energy


def test_by_hand():
    prob = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    image, keep = torch.zeros(3, 1, 2), torch.tensor([[1.0, 0.5]])
    image[0, 0, 1] = 3.0
    near = math.exp(-0.5 * (1 / 4 + 9 / 9))  # one pixel, three levels apart
    # Both pixels with themselves, and the pair twice: 1 - sum of p_i p_j is 0, 1/2 and 1/2.
    expected = 0 + 0.25 * 0.5 + 2 * 0.5 * near * 0.5
    found = plain_dense_energy(prob, image, keep, sigma_rgb=3, sigma_xy=2)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_grid_is_near_and_rows_do_not_matter():
    torch.manual_seed(0)
    prob = torch.randn(3, 32, 40).softmax(0).requires_grad_()
    image, keep = 255 * torch.rand(3, 32, 40), torch.rand(32, 40)
    exact = plain_dense_energy(prob, image, keep, 15.0, 50.0)
    (grad,) = torch.autograd.grad(exact, prob)
    fast = dense_energy(prob, image, keep, 15.0, 50.0)
    (fast_grad,) = torch.autograd.grad(fast, prob)
    assert fast.item() == pytest.approx(exact.item(), rel=0.15)
    assert torch.cosine_similarity(grad.flatten(), fast_grad.flatten(), dim=0) > 0.9
    some = plain_dense_energy(prob, image, keep, 15.0, 50.0, rows=100)
    torch.testing.assert_close(some, exact)

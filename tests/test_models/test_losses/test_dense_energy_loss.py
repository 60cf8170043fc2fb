import math

import pytest
import torch

from afa.models.losses import DenseEnergyLoss, dense_energy
from afa.models.losses.dense_energy_loss import BilateralGrid


def _pair(image, p, q, sigma_rgb, sigma_xy):
    """G of two pixels p and q of an image (3, H, W)."""
    near = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
    like = float((image[:, p[0], p[1]] - image[:, q[0], q[1]]).double().square().sum())
    return math.exp(-near / (2 * sigma_xy**2) - like / (2 * sigma_rgb**2))


def _energy_by_loop(prob, image, keep, sigma_rgb, sigma_xy):
    _, H, W = image.shape
    places = [(y, x) for y in range(H) for x in range(W)]
    total = 0.0
    for p in places:
        for q in places:
            agree = float((prob[:, p[0], p[1]] * prob[:, q[0], q[1]]).sum())
            both = float(keep[p] * keep[q])
            total += both * _pair(image, p, q, sigma_rgb, sigma_xy) * (1 - agree)
    return total


def _exact_matrix(image, sigma_rgb, sigma_xy):
    """G (P, P) in double precision."""
    _, H, W = image.shape
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    place = torch.stack([y, x]).flatten(1).double() / sigma_xy
    feature = torch.cat([place, image.flatten(1).double() / sigma_rgb])
    return (-torch.cdist(feature.T, feature.T).square() / 2).exp()


def _exact_energy(prob, matrix, keep):
    values = prob.flatten(1).double() * keep.flatten()
    ones = keep.flatten().double()
    return ones @ matrix @ ones - (values @ matrix * values).sum()


def _photo(size, noise, seed=0):
    """A smooth picture with an edge, and noise: RGB 0..255."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(
        torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij"
    )
    smooth = torch.stack([60 + 90 * x, 80 + 70 * y, 120 + 40 * x * y])
    smooth[:, (y - 0.5) ** 2 + (x - 0.4) ** 2 < 0.06] += 50
    return (smooth + noise * torch.randn(3, size, size, generator=generator)).clamp(0, 255)


def _inputs(size, noise):
    image = _photo(size, noise)
    prob = (2 * torch.randn(4, size, size)).softmax(0)
    return prob, image, torch.rand(size, size)


# ---- the exact formula, and how near the grid comes to it ---------------------------------------


def test_the_matrix_form_used_below_is_the_formula():
    prob, image, keep = _inputs(4, 10.0)
    expected = _energy_by_loop(prob, image, keep, 15.0, 3.0)
    matrix = _exact_matrix(image, 15.0, 3.0)
    assert _exact_energy(prob, matrix, keep).item() == pytest.approx(expected, rel=1e-5)

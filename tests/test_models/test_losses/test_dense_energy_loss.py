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
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
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


# Measured on this picture: energy 2 % to 12 % low, gradient 7 % to 15 % off in norm, cosine above
# 0.990. One pixel's sum is up to 50 % off (the grid sees where in a cell a pixel lies).
@pytest.mark.parametrize("noise", [0.0, 10.0, 40.0])
@pytest.mark.parametrize("sigma_xy", [10.0, 50.0])
def test_energy_and_gradient_come_near_the_exact_sums(noise, sigma_xy):
    prob, image, keep = _inputs(32, noise)
    matrix = _exact_matrix(image, 15.0, sigma_xy)
    exact_prob = prob.double().requires_grad_()
    exact = _exact_energy(exact_prob, matrix, keep)
    exact.backward()
    prob.requires_grad_()
    energy = dense_energy(prob, image, keep, 15.0, sigma_xy)
    energy.backward()
    assert energy.item() == pytest.approx(exact.item(), rel=0.14)
    wanted = exact_prob.grad.float().flatten()
    assert torch.cosine_similarity(prob.grad.flatten(), wanted, dim=0) > 0.985
    assert (prob.grad.flatten() - wanted).norm() < 0.18 * wanted.norm()


def test_sums_of_the_grid_come_near_the_exact_sums():
    image = _photo(32, 10.0)
    exact = _exact_matrix(image, 15.0, 50.0).sum(1).float()
    error = BilateralGrid(image, 15.0, 50.0)(torch.ones(1, 32 * 32))[0] / exact - 1
    assert error.mean().abs() < 0.11 and error.square().mean().sqrt() < 0.15


def test_the_gradient_is_that_of_the_grids_own_matrix():
    prob, image, keep = _inputs(6, 20.0)
    matrix = BilateralGrid(image, 15.0, 5.0)(torch.eye(36))
    torch.testing.assert_close(matrix, matrix.T)  # symmetric, so that one pass is enough
    assert matrix.min() >= 0
    own_prob = prob.double().requires_grad_()
    own = _exact_energy(own_prob, matrix.double(), keep)
    own.backward()
    prob.requires_grad_()
    energy = dense_energy(prob, image, keep, 15.0, 5.0)
    (3 * energy).backward()
    assert energy.item() == pytest.approx(own.item(), rel=1e-5)
    torch.testing.assert_close(prob.grad, 3 * own_prob.grad.float(), rtol=1e-4, atol=1e-5)


def test_one_pixel_by_hand():
    # G of a pixel with itself is 1 (here the grid's: splat, centre tap, slice in 5 dimensions at a
    # cell's corner), so E = S^2 (1 - sum p^2) = 0.25 * (1 - 0.52).
    prob = torch.tensor([0.6, 0.4]).view(2, 1, 1)
    image, keep = torch.full((3, 1, 1), 90.0), torch.full((1, 1), 0.5)
    corner = BilateralGrid(image, 15.0, 50.0)(torch.ones(1, 1)).item()
    assert corner == pytest.approx(1.155**5)
    energy = dense_energy(prob, image, keep, 15.0, 50.0)
    assert energy.item() == pytest.approx(0.25 * 0.48 * corner, rel=1e-5)


def test_like_predictions_cost_nothing_and_the_filter_keeps_its_gradient():
    image = _photo(6, 5.0)
    prob = torch.zeros(3, 6, 6)
    prob[1] = 1
    keep = torch.rand(6, 6, requires_grad=True)
    assert dense_energy(prob, image, keep).item() == pytest.approx(0, abs=1e-3)
    assert not dense_energy(prob, image, keep).requires_grad  # S is a constant
    half = prob.clone()
    half[:, :, 3:] = half[:, :, 3:].roll(1, dims=0)
    assert dense_energy(half, image, keep).item() > 1


# ---- the module ---------------------------------------------------------------------------------


def test_module_soft_filter_padding_and_weights():
    logits, images = torch.randn(2, 3, 4, 4), 255 * torch.rand(2, 3, 4, 4)
    label = torch.randint(0, 3, (2, 4, 4)).masked_fill(torch.rand(2, 4, 4) < 0.4, 255)
    inside = torch.ones(2, 4, 4, dtype=torch.bool)
    inside[1, :, 2:] = False
    loss = DenseEnergyLoss(0.5, 1e-3, 15.0, 8.0, scale=1.0)(logits, images, label, inside)
    prob = logits.softmax(1)
    energies = []
    for b in range(2):
        keep = torch.zeros(4, 4)
        for y in range(4):
            for x in range(4):
                sure = prob[b, :, y, x].max() if label[b, y, x] != 255 else 0.0
                keep[y, x] = (1 - sure) if inside[b, y, x] else 0.0
        matrix = BilateralGrid(images[b], 15.0, 8.0)(torch.eye(16)).double()
        energies.append(_exact_energy(prob[b], matrix, keep).item())
    assert loss.item() == pytest.approx(0.5 * 1e-3 * sum(energies) / 2, rel=1e-4)


def test_module_works_at_half_resolution_with_half_the_sigma():
    logits, images = torch.randn(1, 3, 4, 4), 255 * torch.rand(1, 3, 8, 8)
    label, inside = torch.full((1, 8, 8), 255), torch.ones(1, 8, 8, dtype=torch.bool)
    loss = DenseEnergyLoss(1.0, 1.0, 15.0, 6.0, scale=0.5)(logits, images, label, inside)
    small = torch.nn.functional.avg_pool2d(images, 2)  # bilinear by one half
    expected = dense_energy(logits[0].softmax(0), small[0], torch.ones(4, 4), 15.0, 3.0)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_padding_only_and_tiny_images_are_finite(size):
    logits = torch.randn(2, 3, 1, 1, requires_grad=True)
    label = torch.full((2, size, size), 255)
    for inside in (torch.ones(2, size, size).bool(), torch.zeros(2, size, size).bool()):
        images = 255 * torch.rand(2, 3, size, size)
        loss = DenseEnergyLoss()(logits, images, label, inside)
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all()
    assert loss.item() == 0


@pytest.mark.parametrize("name", ["sigma_rgb", "sigma_xy", "scale"])
def test_wrong_arguments(name):
    with pytest.raises(ValueError, match="needs sigma_rgb, sigma_xy and scale above 0, got"):
        DenseEnergyLoss(**{name: 0.0})


# ---- on a GPU -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size, sigma_xy", [(16, 5.0), (31, 100.0)])
def test_the_grid_of_any_image_holds_those_of_all_and_gives_the_same(monkeypatch, size, sigma_xy):
    prob, image, keep = _inputs(size, noise=80)
    image[:, 0, 0], image[:, 0, 1] = 0, 255  # as many colours as there can be
    tight = BilateralGrid(image, 15.0, sigma_xy).shape
    expected = dense_energy(prob, image, keep, 15.0, sigma_xy)
    sides = BilateralGrid._sides
    monkeypatch.setattr(
        BilateralGrid, "_sides", staticmethod(lambda low, *sizes: sides(low.to("meta"), *sizes))
    )
    wide = BilateralGrid(image, 15.0, sigma_xy).shape
    assert all(0 < w - t <= 2 for w, t in zip(wide, tight, strict=True)), (wide, tight)
    assert torch.allclose(dense_energy(prob, image, keep, 15.0, sigma_xy), expected, rtol=1e-5)

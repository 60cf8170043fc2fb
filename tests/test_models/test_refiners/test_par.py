import math

import pytest
import torch

from afa.models.refiners import PAR


def _std(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _softmax(values):
    top = max(values)
    exps = [math.exp(v - top) for v in values]
    return [e / sum(exps) for e in exps]


def _par_by_loop(image, masks, num_iters, dilations, width=0.3, share=0.01):
    """Refine masks (M, H, W) along one image (3, H, W), pixel by pixel, in double precision."""
    _, H, W = image.shape
    stencil = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    offsets = [(d * y, d * x) for d in dilations for y, x in stencil]
    lengths = [math.hypot(y, x) for y, x in offsets]
    position = _softmax([-((v / (_std(lengths) + 1e-8) / width) ** 2) for v in lengths])

    def around(y, x):
        return [(min(max(y + v, 0), H - 1), min(max(x + u, 0), W - 1)) for v, u in offsets]

    weights = {}
    for y in range(H):
        for x in range(W):
            kernel = [0.0] * len(offsets)
            for c in range(3):
                colours = [float(image[c, v, u]) for v, u in around(y, x)]
                spread = _std(colours) + 1e-8
                for i, colour in enumerate(colours):
                    kernel[i] -= (abs(colour - float(image[c, y, x])) / spread / width) ** 2 / 3
            pairs = zip(_softmax(kernel), position, strict=True)
            weights[y, x] = [colour + share * pos for colour, pos in pairs]
    for _ in range(num_iters):
        after = masks.clone()
        for (y, x), weight in weights.items():
            after[:, y, x] = sum(
                k * masks[:, v, u] for k, (v, u) in zip(weight, around(y, x), strict=True)
            )
        masks = after
    return masks


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 4), (1, 3)])
@pytest.mark.parametrize("dilations", [(1,), (1, 2, 8)])
def test_par_is_the_formula(height, width, dilations):
    images = 255 * torch.rand(2, 3, height, width)
    images[1, 1] = 7.0  # a flat channel has no spread
    masks = torch.rand(2, 2, height, width)
    refined = PAR(num_iters=3, dilations=dilations)(images, masks)
    for image, mask, out in zip(images, masks, refined, strict=True):
        expected = _par_by_loop(image, mask.double(), 3, dilations).float()
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-6)


def test_flat_image_by_hand():
    # The colour kernel is 1/8 everywhere. Distances are 1 and sqrt 2 with deviation 0.2214, so the
    # position kernel is exp(-227) for the former against exp(-453): 1/4 for the four direct ones.
    mask = torch.zeros(1, 1, 3, 3)
    mask[..., 1, 1] = 1
    refined = PAR(num_iters=1, dilations=(1,))(torch.full((1, 3, 3, 3), 80.0), mask)
    direct, diagonal = 1 / 8 + 0.01 / 4, 1 / 8
    expected = [[diagonal, direct, diagonal], [direct, 0, direct], [diagonal, direct, diagonal]]
    torch.testing.assert_close(refined[0, 0], torch.tensor(expected))


def test_edge_by_hand():
    # At a sharp edge 3 of 8 neighbours differ by 1.93 deviations: exp(-41) against 5 times 1. Only
    # the position kernel of the one direct neighbour crosses: 0.01 / 4.
    image = torch.zeros(1, 3, 4, 4)
    image[..., 2:] = 255
    mask = (image[:, :1] > 0).float()
    refined = PAR(num_iters=1, dilations=(1,))(image, mask)
    row = torch.tensor([0, 0.0025, 1.01 - 0.0025, 1.01])
    torch.testing.assert_close(refined[0, 0], row.repeat(4, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 6)])
@pytest.mark.parametrize("num_iters", [0, 1, 10, 15])
def test_constant_masks_grow_by_a_constant_factor(size, num_iters):
    par = PAR(num_iters=num_iters)
    refined = par(255 * torch.rand(2, 3, *size), torch.full((2, 1, *size), 0.25))
    torch.testing.assert_close(refined, torch.full((2, 1, *size), 0.25 * 1.01**num_iters))


def test_weights_belong_to_the_image_alone():
    par = PAR()
    images = 255 * torch.rand(2, 3, 6, 5)
    weights = par.weights(images)
    assert weights.shape == (2, 48, 6, 5) and weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(1), torch.full((2, 6, 5), 1.01))
    torch.testing.assert_close(weights[1:], par.weights(images[1:]))
    # Brightness and contrast do not matter: the kernel is relative to the spread.
    torch.testing.assert_close(par.weights(images * 0.5 + 9), weights, rtol=1e-3, atol=1e-5)


def test_refinement_is_linear():
    par = PAR(num_iters=4, dilations=(1, 2))
    weights = par.weights(255 * torch.rand(1, 3, 4, 5))
    a, b = torch.rand(2, 1, 2, 4, 5)
    together = par.refine(a + 3 * b, weights)
    torch.testing.assert_close(together, par.refine(a, weights) + 3 * par.refine(b, weights))


def test_smaller_masks_are_resized_with_aligned_corners():
    par = PAR(num_iters=0)
    masks = torch.tensor([[[[0.0, 1.0]]]])
    assert par(torch.rand(1, 3, 1, 3), masks).tolist() == [[[[0, 0.5, 1]]]]
    assert par(torch.rand(1, 3, 2, 5), masks)[0, 0, 1].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_makes_labels_and_passes_no_gradient():
    par = PAR(num_iters=1, dilations=(1,))
    masks = torch.rand(1, 1, 3, 3, requires_grad=True)
    images = torch.rand(1, 3, 3, 3, requires_grad=True)
    refined = par(images, masks.bfloat16())
    assert not refined.requires_grad and refined.dtype == torch.float32
    assert not list(par.parameters()) and not par.state_dict()


def test_table_and_slices_are_one_refinement(monkeypatch):
    par = PAR(num_iters=4, dilations=(1, 3))
    images, masks = 255 * torch.rand(2, 3, 6, 5), torch.rand(2, 7, 6, 5)
    by_table, weights = par(images, masks), par.weights(images)
    assert weights.permute(0, 2, 3, 1).is_contiguous()
    by_other_layout = par.refine(masks, weights.contiguous())
    monkeypatch.setattr("afa.models.refiners.par.MAX_TABLE", 0)
    assert par.weights(images).is_contiguous()
    torch.testing.assert_close(par(images, masks), by_table, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(by_other_layout, by_table, rtol=0, atol=0)


def test_strips_of_weights_are_the_whole(monkeypatch):
    par, images = PAR(dilations=(1, 4)), 255 * torch.rand(1, 3, 7, 5)
    whole = par.weights(images)
    for pixels in (1, 10, 34):
        monkeypatch.setattr("afa.models.refiners.par.STRIP_PIXELS", pixels)
        torch.testing.assert_close(par.weights(images), whole, rtol=1e-5, atol=1e-7)


def test_masks_of_other_images_and_sets_do_not_matter():
    par = PAR(num_iters=3, dilations=(1, 2))
    images, masks = 255 * torch.rand(2, 3, 5, 6), torch.rand(2, 4, 5, 6)
    together = par(images, masks)
    for i in range(2):
        for part in (slice(0, 1), slice(1, 4)):
            alone = par(images[i : i + 1], masks[i : i + 1, part])
            torch.testing.assert_close(alone, together[i : i + 1, part])


def test_sets_of_any_size_are_refined_in_one_pass():
    par, images = PAR(num_iters=3, dilations=(1, 2)), 255 * torch.rand(2, 3, 6, 8)
    sets = [torch.rand(2, 3, 6, 8), torch.rand(2, 1, 3, 4), torch.rand(2, 2, 9, 9)]
    refined = par.refine_sets(sets, par.weights(images))
    for masks, out in zip(sets, refined, strict=True):
        torch.testing.assert_close(out, par(images, masks))


def test_no_mask_and_bfloat16():
    images, masks = 255 * torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8, 8)
    assert PAR()(images, masks[:, :0]).shape == (1, 0, 8, 8)
    half = PAR(dtype="bfloat16")
    assert half.weights(images).dtype == torch.bfloat16
    refined = half(images, masks)
    assert refined.dtype == torch.float32 and not torch.equal(refined, PAR()(images, masks))
    torch.testing.assert_close(refined, PAR()(images, masks), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        (dict(num_iters=-1), "num_iters >= 0, got -1"),
        (dict(dilations=()), r"dilations >= 1 .*, got \(\)"),
        (dict(dilations=(1, 0)), r"got \(1, 0\): use e\.g\."),
        (dict(dilations=(1.5,)), "whole pixels"),
        (dict(dtype="float16"), "'float32', 'bfloat16'.*got 'float16'"),
    ],
)
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ValueError, match=text):
        PAR(**kwargs)

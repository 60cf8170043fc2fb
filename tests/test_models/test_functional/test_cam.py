import pytest
import torch
import torch.nn.functional as F

from afa.models.functional import (
    multi_scale_cams,
    normalize_cams,
    pack_present,
    present_classes,
    resize_images,
    scale_size,
)


def test_present_classes_are_listed_in_order_and_filled_with_minus_one():
    labels = torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert present_classes(labels).tolist() == [[1, 3], [0, -1], [-1, -1]]
    assert torch.equal(present_classes(labels, 2), present_classes(labels))


@pytest.mark.parametrize("shape", [(2, 4), (0, 4)])
def test_no_class_at_all_gives_an_empty_list(shape):
    assert present_classes(torch.zeros(shape)).shape == (shape[0], 0)


def test_pack_present_keeps_the_maps_of_the_listed_classes():
    cams = torch.arange(1.0, 7).view(1, 3, 1, 2).repeat(2, 1, 1, 1)
    packed = pack_present(cams, torch.tensor([[0, 2], [1, -1]]))
    assert packed.flatten(2).tolist() == [[[1, 2], [5, 6]], [[3, 4], [0, 0]]]
    assert pack_present(cams, torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0, 1, 2)


def _normalized_by_loop(cams, eps):
    out = torch.zeros_like(cams)
    for b in range(cams.shape[0]):
        for m in range(cams.shape[1]):
            values = [float(v) for v in cams[b, m].flatten()]
            low = min(values)
            shifted = [v - low for v in values]
            scaled = [v / (max(shifted) + eps) for v in shifted]
            out[b, m] = torch.tensor(scaled).view_as(cams[b, m])
    return out


def test_normalize_cams_is_the_formula():
    cams = torch.rand(2, 3, 4, 3) * torch.tensor([1.0, 1e-4, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(normalize_cams(cams), _normalized_by_loop(cams, 1e-5))


def test_normalize_cams_by_hand():
    cams = torch.tensor([[[[2.0, 4.0], [6.0, 10.0]], [[3.0, 3.0], [3.0, 3.0]]]])
    expected = [[[[0, 0.25], [0.5, 1.0]], [[0, 0], [0, 0]]]]  # a constant map has no object
    torch.testing.assert_close(normalize_cams(cams), torch.tensor(expected), atol=2e-6, rtol=0)


def test_dividing_by_the_maximum_only_by_hand():
    cams = torch.tensor([[[[2.0, 4.0], [6.0, 10.0]], [[3.0, 3.0], [3.0, 3.0]], [[0.0] * 2] * 2]])
    expected = [[[[0.2, 0.4], [0.6, 1.0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]]]
    torch.testing.assert_close(
        normalize_cams(cams, subtract_min=False), torch.tensor(expected), atol=4e-6, rtol=0
    )


def test_sizes():
    assert scale_size((128, 96), 1.5) == (192, 144)
    assert scale_size((1, 3), 0.1) == (1, 1)
    assert scale_size((5, 7), 0.5) == (2, 3) and scale_size((7, 5), 0.5, round) == (4, 2)
    images = torch.rand(1, 3, 4, 6)
    assert resize_images(images, 1.0) is images
    assert resize_images(images, 0.5).shape == (1, 3, 2, 3)


def _cams_by_loop(class_maps, images, present, scales):
    """Sum over scales of ReLU(max(resized map, that of the mirror image)), normalised."""
    H, W = images.shape[2:]
    out = []
    for image, classes in zip(images, present, strict=True):
        summed = torch.zeros(len(classes), H, W)
        for scale in scales:
            size = (int(H * scale), int(W * scale))
            small = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)
            plain, mirror = (
                F.interpolate(maps, size=(H, W), mode="bilinear", align_corners=False)[0]
                for maps in (
                    class_maps(small, scale),
                    class_maps(small.flip(3), scale).flip(3),
                )
            )
            for m, k in enumerate(classes):
                summed[m] += torch.maximum(plain[k], mirror[k]).clamp(min=0)
        out.append(_normalized_by_loop(summed[None], 1e-5)[0])
    return torch.stack(out)


def test_multi_scale_cams_is_the_formula():
    weight = torch.randn(5, 3, 3, 3)

    def class_maps(images, scale):
        return F.conv2d(images, weight, stride=2, padding=1) + scale - 1

    images = torch.randn(2, 3, 9, 13)  # halves and one and a half times are no whole numbers
    labels = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]])
    cams = multi_scale_cams(class_maps, images, present_classes(labels), (1.0, 0.5, 1.5))
    expected = _cams_by_loop(class_maps, images, [[1, 4], [0, 2]], (1.0, 0.5, 1.5))
    torch.testing.assert_close(cams, expected)
    assert cams.min() >= 0 and cams.max() < 1


def test_mirror_images_at_some_scales_only():
    weight, seen = torch.randn(5, 3, 3, 3), []

    def class_maps(images, scale):
        seen.append((scale, len(images)))
        return F.conv2d(images, weight, stride=2, padding=1)

    images, labels = torch.randn(2, 3, 8, 12), torch.tensor([[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]])
    idx, scales = present_classes(labels), (1.0, 0.5, 1.5)
    made = multi_scale_cams(class_maps, images, idx, scales, mirror_scales=(1.0,))
    assert seen == [(1.0, 4), (0.5, 2), (1.5, 2)]
    # Where the network gives the mirror image the mirrored maps, nothing is lost without it.
    weight = weight[..., 1:2]  # a column: the same from both sides
    even = torch.cat([images, images.flip(3)], dim=3)  # images that are their own mirror images

    def column(images, scale):
        return F.conv2d(images, weight, padding=(1, 0))

    whole = multi_scale_cams(column, even, idx, scales)
    torch.testing.assert_close(
        multi_scale_cams(column, even, idx, scales, mirror_scales=()), whole, rtol=1e-4, atol=1e-5
    )
    assert made.shape == (2, 2, 8, 12) and (made > 0).any()


def test_the_order_in_the_cam_by_hand():
    """Two tokens become four pixels; what is behind the resize cannot be undone by it."""
    maps = torch.tensor([[[[4.0, -4.0]]], [[[-8.0, 0.0]]]])  # image; mirror image, as it comes
    cams = multi_scale_cams(
        lambda images, scale: maps, torch.zeros(1, 3, 1, 4), torch.tensor([[0]]), (1.0,)
    )
    # resized: 4 2 -2 -4, and the mirror image, back: 0 -2 -6 -8; maximum 4 2 -2 -4; ReLU 4 2 0 0.
    # (Maximum and ReLU first: 4 0, resized 4 3 1 0.)
    expected = torch.tensor([1.0, 0.5, 0, 0])
    torch.testing.assert_close(cams.flatten(), expected, rtol=0, atol=1e-5)


def test_summed_mirror_images_and_maximum_only_are_the_formula():
    """AffinityNet: sum over scales and mirror of resized ReLU maps, divided by the maximum."""
    weight = torch.randn(3, 3, 3, 3)

    def class_maps(images, scale):
        return F.conv2d(images, weight, stride=2, padding=1) + scale

    images, scales = torch.randn(1, 3, 8, 12), (1.0, 0.5, 1.5, 2.0)
    cams = multi_scale_cams(
        class_maps, images, torch.tensor([[0, 2]]), scales, mirror="sum", subtract_min=False
    )
    for m, k in enumerate((0, 2)):
        summed = torch.zeros(8, 12)
        for scale in scales:
            size = (round(8 * scale), round(12 * scale))
            small = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
            for flipped in (False, True):
                view = class_maps(small.flip(3) if flipped else small, scale)[:, k : k + 1]
                view = (view.flip(3) if flipped else view).clamp(min=0)
                big = F.interpolate(view, size=(8, 12), mode="bilinear", align_corners=False)
                summed += big[0, 0]
        torch.testing.assert_close(cams[0, m], summed / (summed.max() + 1e-5))


def test_unknown_way_with_the_mirror_image():
    with pytest.raises(ValueError, match=r"mirror must be one of \('max', 'sum'\), got 'mean'"):
        multi_scale_cams(None, torch.rand(1, 3, 2, 2), torch.tensor([[0]]), mirror="mean")


def test_mirror_image_is_mirrored_back_and_the_larger_value_counts():
    # The map is the red channel; on a mirror image this "network" sees twice as much.
    def class_maps(images, scale):
        plain, mirrored = images[:, :1].chunk(2)
        return torch.cat([plain, 2 * mirrored])

    images = torch.tensor([0.0, 1.0, 2.0, 4.0]).view(1, 1, 1, 4).repeat(1, 3, 1, 1)
    cams = multi_scale_cams(class_maps, images, torch.tensor([[0]]), (1.0,))
    torch.testing.assert_close(cams[0, 0, 0], torch.tensor([0, 0.25, 0.5, 1.0]), atol=1e-5, rtol=0)


def test_negative_maps_and_absent_classes_are_zero_and_no_class_runs_nothing():
    images = torch.rand(2, 3, 4, 4)
    cams = multi_scale_cams(
        lambda x, _: -x[:, :2] - 1, images, torch.tensor([[0, 1], [0, -1]]), (1.0, 0.5)
    )
    assert not cams.any()
    cams = multi_scale_cams(None, images, torch.zeros(2, 0, dtype=torch.long), (1.0,))
    assert cams.shape == (2, 0, 4, 4) and cams.dtype == torch.float32


def test_bf16_maps_are_summed_in_float32():
    images = torch.rand(1, 3, 4, 4)
    cams = multi_scale_cams(lambda x, _: x[:, :2].bfloat16(), images, torch.tensor([[1]]), (1.0,))
    assert cams.dtype == torch.float32

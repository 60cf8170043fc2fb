import math

import pytest
import torch

from afa.models.functional import (
    ignore_outside,
    label_of_masks,
    label_of_two_scores,
    labels_from_masks,
    merge_thresholds,
    power_background,
    resize_maps,
    soft_masks,
    stacked_masks,
)


def pseudo_label(cams, class_idx, high=0.55, low=0.35, size=None):
    masks = stacked_masks(cams, class_idx, (high, low))
    return label_of_two_scores(masks, class_idx, size or cams.shape[2:])


def _softmax_by_loop(cams, classes, score):
    """Softmax over [score, present CAMs] of one pixel; {class: probability}."""
    values = {0: math.exp(score)}
    values.update({k + 1: math.exp(c) for k, c in zip(classes, cams, strict=True) if k >= 0})
    return {k: v / sum(values.values()) for k, v in values.items()}


def _pseudo_label_by_loop(cams, class_idx, high, low):
    B, _, H, W = cams.shape
    label = torch.zeros(B, H, W, dtype=torch.long)
    for b in range(B):
        classes = class_idx[b].tolist()
        for y in range(H):
            for x in range(W):
                at = [float(v) for v in cams[b, :, y, x]]
                sure, loose = (_softmax_by_loop(at, classes, thr) for thr in (high, low))
                first, second = max(sure, key=sure.get), max(loose, key=loose.get)
                label[b, y, x] = first if first else (0 if not second else 255)
    return label


def test_pseudo_label_is_the_formula():
    cams = torch.rand(3, 3, 4, 4)
    class_idx = torch.tensor([[0, 4, 7], [2, 5, -1], [-1, -1, -1]])
    label = pseudo_label(cams, class_idx, 0.55, 0.35)
    assert torch.equal(label, _pseudo_label_by_loop(cams, class_idx, 0.55, 0.35))
    assert label.dtype == torch.int64
    assert set(label.unique().tolist()) == {0, 1, 3, 5, 6, 8, 255}  # every branch was taken


def test_pseudo_label_by_hand():
    cams = torch.tensor([[[[0.9, 0.5, 0.1]], [[0.6, 0.2, 0.4]]]])
    label = pseudo_label(cams, torch.tensor([[4, 9]]), 0.55, 0.35)
    # 0.9 is above 0.55; 0.5 only above 0.35; 0.4 of the second class too.
    assert label.tolist() == [[[5, 255, 255]]]
    assert pseudo_label(cams, torch.tensor([[4, -1]]), 0.55, 0.35).tolist() == [[[5, 255, 0]]]


def test_soft_masks_are_the_softmax():
    cams = torch.rand(2, 2, 2, 2)
    class_idx = torch.tensor([[1, 3], [2, -1]])
    masks = soft_masks(cams, class_idx, 0.45)
    for b in range(2):
        expected = _softmax_by_loop(cams[b, :, 1, 0].tolist(), class_idx[b].tolist(), 0.45)
        assert masks[b, 0, 1, 0].item() == pytest.approx(expected[0])
        assert masks[b, 1, 1, 0].item() == pytest.approx(expected[int(class_idx[b, 0]) + 1])
    assert not masks[1, 2].any()
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 2, 2))


def test_no_class_gives_background():
    none = torch.zeros(2, 0, dtype=torch.long)
    assert torch.equal(soft_masks(torch.zeros(2, 0, 3, 2), none, 0.4), torch.ones(2, 1, 3, 2))
    assert not pseudo_label(torch.zeros(2, 0, 3, 2), none).any()


def test_labels_from_masks_never_gives_an_absent_class():
    masks = torch.tensor([0.0, 0.2, 0.9]).view(1, 3, 1, 1)
    assert labels_from_masks(masks, torch.tensor([[6, 8]])).item() == 9
    assert labels_from_masks(masks, torch.tensor([[6, -1]])).item() == 7
    assert labels_from_masks(masks * 0, torch.tensor([[6, 8]])).item() == 0  # a tie is background


def test_merge_thresholds_by_hand():
    high, low = torch.tensor([[[3, 0, 0, 3]]]), torch.tensor([[[3, 0, 4, 4]]])
    assert merge_thresholds(high, low).tolist() == [[[3, 0, 255, 3]]]
    assert merge_thresholds(high, low, ignore_index=-1).tolist() == [[[3, 0, -1, 3]]]


def test_ignore_outside_keeps_the_box():
    labels = torch.ones(3, 2, 3, dtype=torch.long)
    out = ignore_outside(labels, [(0, 1, 1, 3), (0, 2, 0, 3), (0, 0, 0, 0)])
    assert out[0].tolist() == [[255, 1, 1], [255, 255, 255]]
    assert out[1].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert (out[2] == 255).all()
    assert (labels == 1).all()


def test_ignore_outside_wants_one_box_per_image():
    with pytest.raises(ValueError, match="zip"):
        ignore_outside(torch.ones(2, 2, 2), [(0, 1, 0, 1)])


def test_masks_are_resized_before_the_best_is_taken():
    masks = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    label = label_of_masks(masks, torch.tensor([[2]]), (1, 4))
    assert label.tolist() == [[[0, 0, 3, 3]]]


def test_cams_are_resized_before_the_softmax():
    cams, class_idx = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[2]])
    masks = stacked_masks(cams, class_idx, (0.5, 0.2), size=(1, 1))
    for t, score in enumerate((0.5, 0.2)):  # the CAM of the one pixel is 0.5
        expected = math.exp(0.5) / (math.exp(0.5) + math.exp(score))
        assert masks[0, 2 * t + 1].item() == pytest.approx(expected)
    behind = resize_maps(stacked_masks(cams, class_idx, (0.2,)), (1, 1))[0, 1].item()
    assert behind != pytest.approx(masks[0, 3].item(), abs=1e-3)


def test_size_of_the_label():
    assert pseudo_label(torch.rand(1, 1, 2, 2), torch.tensor([[0]]), size=(5, 3)).shape == (1, 5, 3)


@pytest.mark.parametrize("alpha", [4, 16, 24, 32, 0.5])
def test_power_background_is_the_formula(alpha):
    cams = torch.rand(2, 3, 4, 5)
    background = power_background(cams, alpha)
    assert background.shape == (2, 1, 4, 5)
    for b in range(2):
        for y in range(4):
            for x in range(5):
                best = max(float(cams[b, m, y, x]) for m in range(3))
                expected = (1 - best) ** alpha
                assert background[b, 0, y, x].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_power_background_by_hand():
    cams = torch.tensor([[[[0.5, 0.0, 1.0]], [[0.2, 0.0, 0.3]]]])
    torch.testing.assert_close(power_background(cams, 4), torch.tensor([[[[0.0625, 1.0, 0.0]]]]))


def test_power_background_without_a_class_is_one():
    assert power_background(torch.zeros(2, 0, 3, 3), 16).eq(1).all()
    assert power_background(torch.zeros(2, 2, 3, 3), 16).eq(1).all()


def test_power_background_of_a_map_above_one_is_zero():
    assert power_background(torch.full((1, 1, 1, 1), 1.0000001), 0.5).item() == 0


def test_power_background_wants_an_exponent():
    with pytest.raises(ValueError, match=r"alpha.* above 0, got 0"):
        power_background(torch.zeros(1, 1, 2, 2), 0)


def test_with_score_0_every_pixel_of_an_image_with_a_class_gets_one():
    cams = torch.tensor([[[[0.9, 0.0, 0.2, 0.0]], [[0.1, 0.0, 0.3, 0.0]]], [[[0.0] * 4]] * 2])
    class_idx = torch.tensor([[4, 6], [-1, -1]])
    masks = soft_masks(cams, class_idx, 0)
    assert (masks[0, 0] == 0).all() and torch.allclose(masks.sum(1), torch.ones(2, 1, 4))
    assert labels_from_masks(masks, class_idx).tolist() == [[[5, 5, 7, 5]], [[0, 0, 0, 0]]]
    assert pseudo_label(cams, class_idx, 0, 0).tolist()[0] == [[5, 5, 7, 5]]  # none undecided
    assert labels_from_masks(soft_masks(cams, class_idx, 0.01), class_idx)[0].tolist() == [
        [5, 0, 7, 0]
    ]

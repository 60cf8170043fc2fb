import numpy as np
import pytest

from afa.visualization import heatmap, mark_points, overlay_label

PALETTE = [[0, 0, 0], [200, 0, 0], [0, 100, 50]]


def _grey(height=8, width=8, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_overlay_mixes_photo_and_colours():
    label = np.array([[0, 1], [2, 255]])
    drawn = overlay_label(_grey(2, 2), label, PALETTE, alpha=0.5)
    assert drawn[0, 0].tolist() == [50, 50, 50]  # (100 + 0) / 2
    assert drawn[0, 1].tolist() == [150, 50, 50]
    assert drawn[1, 0].tolist() == [50, 100, 75]
    assert drawn[1, 1].tolist() == [162, 162, 146]  # undecided: (224, 224, 192)


@pytest.mark.parametrize(("alpha", "red"), [(0.0, 100), (1.0, 200)])
def test_overlay_alpha_goes_from_photo_to_colour(alpha, red):
    drawn = overlay_label(_grey(1, 1), np.array([[1]]), PALETTE, alpha=alpha)
    assert drawn[0, 0, 0] == red


def test_overlay_leaves_its_input_alone_and_takes_any_integers():
    image = _grey(2, 2)
    for dtype in (np.uint8, np.int64):
        overlay_label(image, np.full((2, 2), 255, dtype), PALETTE)
    assert (image == 100).all()


def test_overlay_takes_a_label_that_is_ignored_throughout_with_a_short_palette():
    assert overlay_label(_grey(1, 1), np.array([[255]]), [[0, 0, 0]], 1.0)[0, 0, 2] == 192


@pytest.mark.parametrize(
    ("image", "label", "text"),
    [
        (_grey(2, 2), np.zeros((2, 3), int), r"as large as the image \(2, 2\), got \(2, 3\)"),
        (_grey(1, 1), np.array([[3]]), r"class 3, but the palette has the colours of 0\.\.2"),
        (_grey(1, 1), np.array([[-1]]), "class -1"),
        (_grey(1, 1).astype(float), np.array([[0]]), "uint8 RGB, got shape"),
        (_grey(1, 1)[..., :1], np.array([[0]]), "uint8 RGB, got shape"),
    ],
)
def test_overlay_refuses_what_does_not_fit(image, label, text):
    with pytest.raises(ValueError, match=text):
        overlay_label(image, label, PALETTE)


def test_heatmap_is_blue_at_0_and_red_at_1():
    drawn = heatmap(_grey(1, 2, 0), np.array([[0.0, 1.0]]), alpha=1.0)
    assert drawn[0, 0].tolist() == [0, 0, 128]
    assert drawn[0, 1].tolist() == [128, 0, 0]


def test_heatmap_is_not_stretched_and_is_clipped():
    low = heatmap(_grey(), np.full((2, 2), 0.1))
    assert (low == heatmap(_grey(), np.full((2, 2), 0.1)[:1])).all()
    assert not (low == heatmap(_grey(), np.full((2, 2), 0.9))).all()
    assert (heatmap(_grey(), np.full((2, 2), 7.0)) == heatmap(_grey(), np.ones((2, 2)))).all()
    not_a_number = np.full((2, 2), np.nan)
    assert (heatmap(_grey(), not_a_number) == heatmap(_grey(), np.zeros((2, 2)))).all()


def test_heatmap_is_resized_to_the_photo():
    assert heatmap(_grey(5, 9), np.eye(3)).shape == (5, 9, 3)


def test_marks_stand_at_their_points():
    image = _grey(64, 64)
    marked = mark_points(image, [(32, 20)], [])
    changed = np.argwhere((marked != image).any(2))
    assert np.abs(changed.mean(0) - (32, 20)).max() < 0.5
    assert (image == 100).all()


def test_numbers_stand_beside_the_marks_also_at_the_edge():
    image = _grey(64, 64)
    for x in (10, 60):
        ring = mark_points(image, [(32, x)], [])
        numbered = mark_points(image, [(32, x)])
        assert (ring != numbered).any()
        assert (mark_points(image, [(32, x)], [2]) != numbered).any()

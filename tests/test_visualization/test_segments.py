import numpy as np
import pytest

from afa.visualization import draw_segments
from afa.visualization.segments import _segment_names, label_areas

CLASSES = ("background", "cat", "dog")
PALETTE = [[0, 0, 0], [200, 0, 0], [0, 100, 50]]
WHITE, GREY = [255, 255, 255], [100, 100, 100]


@pytest.fixture
def photo():
    return np.full((500, 600, 3), 100, np.uint8)


@pytest.fixture
def label():
    label = np.zeros((500, 600), np.uint8)
    label[50:350, 50:250] = 1
    label[50:350, 250:500] = 2
    label[495:, 595:] = 255
    return label


def test_segments_have_the_mixed_colour_and_the_background_none(photo, label):
    drawn = draw_segments(photo, label, CLASSES, PALETTE, alpha=0.5)
    assert drawn[80, 80].tolist() == [150, 50, 50]  # (100 + 200) / 2
    assert drawn[320, 450].tolist() == [50, 100, 75]
    assert drawn[400, 300].tolist() == GREY
    assert drawn[497, 597].tolist() != GREY
    assert draw_segments(photo, label, CLASSES, PALETTE, 0.25)[80, 80].tolist() == [125, 75, 75]


def test_segments_have_a_rim_in_full_colour_and_a_white_line(photo, label):
    drawn = draw_segments(photo, label, CLASSES, PALETTE)
    assert drawn[50, 150].tolist() == WHITE and drawn[52, 150].tolist() == PALETTE[1]
    assert drawn[200, 250].tolist() == WHITE
    assert drawn[200, 248].tolist() == PALETTE[1] and drawn[200, 252].tolist() == PALETTE[2]
    assert drawn[48, 150].tolist() == GREY  # the background has none


def test_legend_names_what_is_there_the_largest_first(photo, label):
    drawn = draw_segments(photo, label, CLASSES, PALETTE)[500:]
    assert drawn.shape[0] > 0
    left = [np.nonzero((drawn == color).all(2))[1].min() for color in (PALETTE[2], PALETTE[1])]
    assert left[0] < left[1] < np.nonzero((drawn == (224, 224, 192)).all(2))[1].min()
    only = draw_segments(photo, np.zeros_like(label), CLASSES, PALETTE)
    assert (only[:500] == 100).all() and (only[500:] < 100).any()


def test_names_can_be_left_out(photo, label):
    plain = draw_segments(photo, label, CLASSES, PALETTE, with_names=False)
    named = draw_segments(photo, label, CLASSES, PALETTE)
    assert plain.shape == (500, 600, 3)
    assert ((named[:500] != plain).any(2).sum(0) > 0)[100:400].any()
    assert (plain[200, 100:240] == (150, 50, 50)).all()


def test_each_large_enough_segment_is_named_at_its_inmost_pixel():
    label = np.zeros((100, 100), np.uint8)
    label[10:31, 10:31] = 2  # 21 x 21
    label[60:91, 60:91] = 2
    label[10:21, 60:71] = 1
    label[50, 50] = 1  # a single pixel
    label[0, :60] = 255
    assert _segment_names(label, CLASSES) == [
        ("dog", (75, 75)),
        ("dog", (20, 20)),
        ("cat", (15, 65)),
    ]


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 3), (1800, 2500)])
def test_any_size_is_drawn(size):
    photo = np.full((*size, 3), 100, np.uint8)
    drawn = draw_segments(photo, np.ones(size, np.int64), CLASSES, PALETTE)
    assert (drawn == (150, 50, 50)).all(2).any()


def test_areas_equal_a_plain_count():
    label = np.random.randint(0, 256, (1500, 900)).astype(np.uint8)  # more than one strip
    assert (label_areas(label) == [(label == value).sum() for value in range(256)]).all()

import numpy as np
import pytest

from afa.visualization import (
    draw_cam,
    draw_segments,
    label_areas,
    legend_entries,
    mark_points,
    overlay_cam,
    overlay_label,
    query_points,
)
from afa.visualization.pictures import (
    MAX_SIDE,
    MIN_SIDE,
    fit_label,
    fit_photo,
    label_layer,
    map_layer,
    readable_size,
    segment_names,
)

CLASSES = ("background", "cat", "dog")
PALETTE = [[0, 0, 0], [200, 0, 0], [0, 100, 50]]
WHITE, GREY = [255, 255, 255], [100, 100, 100]


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


def test_the_photo_stays_at_0_and_yellow_comes_at_1():
    drawn = overlay_cam(_grey(1, 2), np.array([[0.0, 1.0]])).astype(int)
    red, green, blue = drawn[0, 1]
    assert (drawn[0, 0] == 100).all() and min(red, green) > 150 > 2 * blue


def test_more_of_the_colour_comes_with_the_value():
    drawn = overlay_cam(_grey(1, 500), np.linspace(0, 1, 500, dtype=np.float32)[None])
    distance = np.abs(drawn[0].astype(int) - 100).sum(1)
    assert distance[0] == 0 and distance[5] < distance[40] < distance[90]


def test_maps_are_not_stretched_but_resized_and_clipped():
    low, high = (overlay_cam(_grey(), np.full((2, 2), value)) for value in (0.1, 0.9))
    assert not (low == high).all()
    assert (overlay_cam(_grey(), np.full((2, 2), 7.0)) == overlay_cam(_grey(), np.ones(1))).all()
    assert (overlay_cam(_grey(), np.full((2, 2), np.nan)) == 100).all()
    assert overlay_cam(_grey(5, 9), np.eye(3)).shape == (5, 9, 3)


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


def test_numbers_are_whole_in_the_corners():
    corners = [(0, 0), (0, 199), (199, 0), (199, 199)]
    drawn = [mark_points(_grey(200, 200), [point], [8]) for point in corners]
    rings = [mark_points(_grey(200, 200), [point], []) for point in corners]
    areas = [(one != ring).any(2).sum() for one, ring in zip(drawn, rings, strict=True)]
    assert min(areas) > 100 and max(areas) - min(areas) < 5


# ---- draw_cam ------------------------------------------------------------------------------------


def _large():
    return _grey(500, 500)


def test_title_stands_beneath():
    one, other = (draw_cam(_large(), np.zeros((2, 2)), text) for text in ("cat", "dog"))
    assert one.shape[0] > 500 and (one[:500] == other[:500]).all()
    assert (one[500:] != other[500:]).any()


# ---- draw_segments -------------------------------------------------------------------------------


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
    assert segment_names(label, CLASSES) == [
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


def test_legend_entries_are_the_classes_that_occur():
    labels = [np.array([[2, 2]]), np.array([[0, 255]])]
    entries = legend_entries(labels, ["back", "a", "b"], PALETTE)
    assert entries == [("back", [0, 0, 0]), ("b", [0, 100, 50]), ("undecided", (224, 224, 192))]


# ---- query_points --------------------------------------------------------------------------------


def test_without_a_label_the_points_lie_on_the_diagonal():
    assert query_points((40, 80), 3) == [(10, 20), (20, 40), (30, 60)]


def test_inmost_pixels_foreground_first_then_background():
    label = np.zeros((20, 20), int)
    label[2:5, 2:5] = 1
    label[10:17, 10:17] = 2
    points = query_points((20, 20), 3, label)
    assert points[:2] == [(13, 13), (3, 3)]  # the larger one first
    assert label[points[2]] == 0
    assert query_points((20, 20), 1, label) == [(13, 13)]


def test_ignored_pixels_are_no_class_and_missing_points_are_filled_up():
    label = np.full((10, 10), 255)
    assert query_points((10, 10), 1, label) == [(5, 5)]
    label[0:3, 0:3] = 1
    assert query_points((10, 10), 2, label) == [(1, 1), (6, 6)]


def test_class_that_fills_the_image_has_its_point_in_the_middle():
    (y, x) = query_points((9, 9), 1, np.ones((9, 9), int))[0]
    assert (y, x) == (4, 4)


# ---- readable size -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((480, 300), (480, 300)),
        ((96, 90), (480, 450)),  # 5 times
        ((479, 100), (958, 200)),
        ((1600, 1600), (1600, 1600)),
        ((3200, 1600), (1600, 800)),
        ((10_000, 1), (1600, 1)),
        ((1, 1), (480, 480)),
    ],
)
def test_small_photos_are_enlarged_by_whole_factors_and_large_ones_reduced(size, shown):
    assert readable_size(size) == shown
    assert fit_photo(_grey(*size)).shape == (*shown, 3)
    assert fit_label(np.ones(size, np.uint8)).shape == shown


def test_a_photo_of_readable_size_is_shown_as_it_is():
    photo = np.random.randint(0, 255, (MIN_SIDE, 20, 3), np.uint8)
    assert fit_photo(photo) is photo
    assert (fit_label(photo[..., 0]) == photo[..., 0]).all()


def test_labels_are_repeated_or_picked_never_mixed():
    label = np.array([[1, 7], [3, 255]], np.uint8)
    large = fit_label(label)
    half = MIN_SIDE // 2
    assert (large[:half, :half] == 1).all() and (large[half:, half:] == 255).all()
    assert (large[:half, half:] == 7).all() and (large[half:, :half] == 3).all()
    stripes = np.repeat(np.arange(MAX_SIDE) % 5, 2)[None].repeat(2, 0)  # twice as wide as shown
    assert (fit_label(stripes)[0] == np.arange(MAX_SIDE) % 5).all()


def test_a_label_layer_is_clear_where_the_background_is():
    label = np.zeros((9, 9), np.uint8)
    label[:, 3:] = 1
    label[:, 6:] = 255
    layer = label_layer(label, PALETTE)
    assert layer.dtype == np.uint8
    white, ignored = [*WHITE, 255], [224, 224, 192, 255]
    red = [200, 0, 0, 255]
    row = [[0, 0, 0, 0]] * 3 + [white, red, red, white, ignored, ignored]
    assert (layer == np.array(row)).all()


def test_a_map_layer_grows_with_its_values():
    layer = map_layer(np.array([[0.0, 0.25, 1.0, np.nan, 7.0]]))
    assert layer[0, :, 3].tolist() == [0, 128, 255, 0, 255]  # the root
    brightness = layer[0, :3, :3].sum(axis=1, dtype=int)
    assert brightness[0] < brightness[1] < brightness[2]  # also without any colours
    assert layer[0, 2, :3].tolist() == layer[0, 4, :3].tolist()

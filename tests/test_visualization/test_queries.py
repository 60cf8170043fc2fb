import numpy as np

from afa.visualization import query_points


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

import math

import cv2
import numpy as np
import pytest

from afa.visualization.plots import sweep_plot


def _rows(values):
    return [
        dict(bkg_thr=0.1 * i, mIoU=value, precision=60.0, recall=50.0, **{"IoU.background": 80.0})
        for i, value in enumerate(values)
    ]


def _picture(*args, **kwargs):
    image = cv2.imdecode(np.frombuffer(sweep_plot(*args, **kwargs), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (506, 792, 3)
    return image[..., ::-1].astype(int)


def _near(image, color):
    """Pixels of a colour, as (row, column)."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere(np.abs(image - wanted).max(axis=2) < 12)


def test_the_curve_stands_higher_where_the_figure_is():
    low, high = (_near(_picture(_rows([v] * 4), "t"), "#0072b2") for v in (20.0, 70.0))
    # The legend shows the colour too, at one place: the median is on the curve.
    assert np.median(high[:, 0]) < np.median(low[:, 0]) - 100


def test_the_scores_of_the_written_labels_are_marked():
    rows = _rows([10.0, 40.0, 30.0, 20.0])
    plain, marked = (_picture(rows, "t", used=used) for used in ((), (0.15,)))
    changed = (np.abs(plain - marked).max(axis=2) > 30).sum(axis=0)  # rows, by column
    assert 1 <= (changed > 250).sum() <= 3  # one line from top to bottom


@pytest.mark.parametrize("values", [[40.0], [math.nan, 30.0], [math.nan, math.nan]])
def test_single_scores_and_missing_figures_can_be_drawn(values):
    _picture(_rows(values), "t", used=[0.1])

import math

import cv2
import numpy as np
import pytest

from afa.visualization import plots as module
from afa.visualization.plots import bars_plot, curves_plot, sweep_plot


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, after their drawing."""
    seen, original = [], module._png
    monkeypatch.setattr(module, "_png", lambda figure: seen.append(figure) or original(figure))
    return seen


def _rows(values):
    return [
        dict(bkg_thr=0.1 * i, mIoU=value, precision=60.0, recall=50.0, **{"IoU.background": 80.0})
        for i, value in enumerate(values)
    ]


def _picture(*args, **kwargs):
    image = cv2.imdecode(np.frombuffer(sweep_plot(*args, **kwargs), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] == 792
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
    plain, marked = (_picture(rows, "t", used=used) for used in ((9,), (0.15,)))
    changed = (np.abs(plain - marked).max(axis=2) > 30).sum(axis=0)  # rows, by column
    assert 1 <= (changed > 250).sum() <= 3  # one line from top to bottom


@pytest.mark.parametrize("values", [[40.0], [math.nan, 30.0], [math.nan, math.nan]])
def test_single_scores_and_missing_figures_can_be_drawn(values):
    _picture(_rows(values), "t", used=[0.1])


@pytest.mark.parametrize("values", [[41.4, 3, 2, 1], [1, 2, 3, 100], [1, 40, 2, 3], [7.0], [0, 9]])
def test_the_best_value_is_named_inside_the_plot(figures, values):
    sweep_plot(_rows(values), "t")
    (axes,) = figures[0].axes
    (text,) = axes.texts
    box, frame = text.get_window_extent(), axes.get_window_extent()
    assert text.get_text().startswith(f"best: {max(values):.1f} at")
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1 and frame.y0 <= box.y0 < box.y1 <= frame.y1


def test_curves_begin_at_0_so_that_small_differences_look_small(figures):
    curves_plot([("a", [(40, 39.1)]), ("b", [(54, 39.8)]), ("none", [])], "x", "y")
    (axes,) = figures[0].axes
    assert axes.get_xlim()[0] == axes.get_ylim()[0] == 0


@pytest.mark.parametrize("length", [3, 40, 300])
@pytest.mark.parametrize("number", [1, 4, 12])
def test_a_legend_stands_beneath_its_plot_and_inside_the_picture(figures, length, number):
    names = [f"{i:02d}" + "n" * length for i in range(number)]
    curves_plot([(name, [(0, 1), (1, 2)]) for name in names], "x", "y")
    bars_plot([(name, {"a class with a long name": 1.0}) for name in names], "y")
    for figure in figures:
        (legend,) = figure.legends
        box, axes = legend.get_window_extent(), figure.axes[0].get_tightbbox()
        assert box.y1 <= axes.y0 and axes.height > 200
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width
        assert len(legend.texts) == number

import numpy as np
import pytest

from afa.visualization import grid


def _picture(color, height=10, width=10):
    return np.full((height, width, 3), color, np.uint8)


RED, BLUE = (255, 0, 0), (0, 0, 255)


def _box(image, color):
    """Rows and columns (y0, y1, x0, x1) where a colour stands."""
    ys, xs = np.nonzero((image == color).all(2))
    return ys.min(), ys.max() + 1, xs.min(), xs.max() + 1


def test_pictures_stand_under_their_titles():
    drawn = grid([[_picture(RED), _picture(BLUE)]], ["a", "b"], cell=40)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (26 + 46, 6 + 2 * 46, 3)
    assert _box(drawn, RED) == (26, 66, 6, 46)
    assert _box(drawn, BLUE) == (26, 66, 52, 92)
    assert (drawn[:26, 6:46] < 128).any()  # text


@pytest.mark.parametrize(
    ("shape", "drawn_shape"), [((10, 20), (20, 40)), ((80, 20), (40, 10)), ((1, 100), (1, 40))]
)
def test_pictures_keep_their_aspect(shape, drawn_shape):
    y0, y1, x0, x1 = _box(grid([[_picture(RED, *shape)]], ["a"], cell=40), RED)
    assert (y1 - y0, x1 - x0) == drawn_shape


def test_titles_of_rows_and_of_several_lines_take_room():
    rows = [[_picture(RED)], [_picture(RED)]]
    plain = grid(rows, ["a"], cell=40)
    assert grid(rows, ["a\nb"], cell=40).shape[0] == plain.shape[0] + 20
    named = grid(rows, ["a"], ["one", "two"], cell=40)
    assert named.shape[0] == plain.shape[0] + 2 * 20


def test_long_title_stays_in_its_column():
    rows = [[_picture(RED), _picture(BLUE)]]
    long = grid(rows, ["a very long title indeed, longer than its column", ""], cell=100)
    assert (long[:26, 106:] == 255).all()


def test_letters_beyond_english_are_drawn():
    drawn = [grid([[_picture(RED)]], [text], cell=100) for text in "?ßжλ"]
    assert all((one != other).any() for i, one in enumerate(drawn) for other in drawn[:i])


def test_legend_shows_every_colour_and_wraps():
    rows = [[_picture((1, 1, 1))]]
    legend = [(f"class {i}", (10 * i + 5, 0, 0)) for i in range(8)]
    drawn = grid(rows, ["a"], legend=legend, cell=200)
    boxes = [_box(drawn, color) for _, color in legend]
    assert len({box[0] for box in boxes}) > 1
    assert all(x1 <= drawn.shape[1] for *_, x1 in boxes)
    assert all(y0 >= 26 + 206 for y0, *_ in boxes)


@pytest.mark.parametrize(
    ("rows", "row_titles", "text"),
    [
        ([], None, "at least one row and 1 pictures"),
        ([[_picture(RED)] * 2], None, r"got \[2\]"),
        ([[_picture(RED)]], ["a", "b"], "needs 1 row_titles, got 2"),
    ],
)
def test_numbers_must_match(rows, row_titles, text):
    with pytest.raises(ValueError, match=text):
        grid(rows, ["a"], row_titles)


def test_captions_stand_in_the_corner_of_their_picture_and_nowhere_else():
    rows = [[_picture(RED), _picture(BLUE)]]
    plain = grid(rows, ["a", "b"], cell=80)
    drawn = grid(rows, ["a", "b"], cell=80, captions=[["", "a name that is longer than the cell"]])
    ys, xs = np.nonzero((drawn != plain).any(2))
    assert ys.min() >= 26 and ys.max() < 26 + 20  # at the top
    assert xs.min() >= 6 + 86 and xs.max() < 6 + 86 + 80 and xs.max() > 6 + 86 + 50
    assert (drawn[ys, xs] == 255).all(1).any() and (drawn[ys, xs] < 40).all(1).any()

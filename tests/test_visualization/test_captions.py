import numpy as np
import pytest
from PIL import Image, ImageDraw

from afa.visualization.captions import add_legend, font_size, write_line, write_names


def _grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_names_stand_at_their_points_inside_the_picture():
    picture = _grey(200, 300)
    named = write_names(picture, [("ab", (100, 150))])
    changed = np.argwhere((named != picture).any(2))
    assert np.abs(changed.mean(0) - (100, 150)).max() < 4
    assert (named == 255).all(2).any() and (named < 40).all(2).any()  # white with a dark rim
    assert (picture == 100).all()
    for point in ((0, 0), (199, 299)):
        named = write_names(picture, [("ab", point)])
        area = (named != picture).any(2).sum()
        assert abs(area - len(changed)) < 0.05 * len(changed)  # nothing is cut off


def test_a_name_that_would_cover_another_one_or_that_does_not_fit_is_left_out():
    picture = _grey(200, 300)
    one = write_names(picture, [("ab", (100, 150))])
    assert (write_names(picture, [("ab", (100, 150)), ("cd", (102, 152))]) == one).all()
    assert not (write_names(picture, [("ab", (100, 150)), ("cd", (20, 20))]) == one).all()
    assert (write_names(picture, [("a name longer than the picture" * 3, (100, 150))]) == 100).all()
    assert (write_names(_grey(1, 300), [("ab", (0, 150))]) == 100).all()


def test_letters_beyond_english_are_drawn():
    drawn = [write_names(_grey(200, 300), [(text, (100, 150))]) for text in "?ßжλ"]
    assert all((one != other).any() for i, one in enumerate(drawn) for other in drawn[:i])


@pytest.mark.parametrize("text", ["short", "a little longer", "a line that is much too long " * 9])
def test_a_line_stays_in_its_room(text):
    canvas = Image.new("RGB", (300, 40), "white")
    write_line(ImageDraw.Draw(canvas), text, (20, 20), room=90, size=14)
    _, columns = np.nonzero((np.array(canvas) < 200).all(2))
    assert 20 <= columns.min() < 24 and columns.max() < 110
    assert text == "short" or columns.max() > 90  # as much of it as there is room for


def test_legend_stands_beneath_and_wraps():
    picture = _grey(300, 480, 7)
    entries = [(f"class {i}", (20 * i + 5, 0, 0)) for i in range(9)]
    drawn = add_legend(picture, entries)
    assert drawn.shape[1] == 480 and (drawn[:300] == 7).all()
    tops = set()
    for _, color in entries:
        ys, xs = np.nonzero((drawn == color).all(2))
        assert ys.min() >= 300 and xs.max() < 480
        assert len(ys) == (font_size((300, 480)) - 2) ** 2
        tops.add(ys.min())
    assert len(tops) == 2
    assert add_legend(picture, []) is picture


def test_legend_of_a_thin_picture_is_as_wide_as_its_longest_entry():
    drawn = add_legend(_grey(480, 1), [("a long name", (255, 0, 0)), ("b", None)])
    assert drawn.shape[1] > 100
    assert (drawn[:480, 1:] == 255).all()
    assert (drawn[480:, -font_size((480, 1)) // 2 :] == 255).all()


@pytest.mark.parametrize("length", [3, 30, 90])
def test_a_legend_of_sixty_classes_leaves_the_picture_and_its_own_words_whole(length):
    colors = [(i + 1, 255 - i, 3 * i) for i in range(60)]
    entries = [("n" * length, color) for color in colors]
    drawn = add_legend(_grey(480, 480, 7), entries)
    assert (drawn[:480, :480] == 7).all() and (drawn[:480, 480:] == 255).all()
    squares = [np.argwhere((drawn == color).all(2)) for color in colors]
    size = font_size((480, 480)) - 2
    assert all(len(found) == size**2 and found[:, 0].min() >= 480 for found in squares)
    assert (drawn[:, -size // 2 :][480:] == 255).all()  # no word is cut off

import numpy as np
import pytest

from afa.visualization.captions import (
    MAX_SIDE,
    MIN_SIDE,
    add_legend,
    fit_label,
    fit_photo,
    font_size,
    readable_size,
    write_names,
)


def _grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


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

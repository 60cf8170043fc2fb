import numpy as np

from afa.visualization import draw_cam


def _grey(height=500, width=500):
    return np.full((height, width, 3), 100, np.uint8)


def test_the_photo_stays_at_0_and_red_comes_at_1():
    cam = np.zeros((500, 500), np.float32)
    cam[:, 250:] = 1
    drawn = draw_cam(_grey(), cam, "cat")
    assert (drawn[:500, :250] == 100).all()
    red, green, blue = drawn[100, 400].astype(int)
    assert red > 100 > green > blue - 30 and red > 2 * blue


def test_more_of_the_colour_comes_with_the_value():
    drawn = draw_cam(_grey(), np.linspace(0, 1, 500, dtype=np.float32)[None], "cat")
    distance = np.abs(drawn[200].astype(int) - 100).sum(1)
    assert distance[0] == 0 and distance[5] < distance[40] < distance[90]


def test_it_is_resized_to_the_photo_and_clipped():
    high = draw_cam(_grey(), np.full((3, 5), 7.0), "cat")
    assert (high == draw_cam(_grey(), np.ones((1, 1)), "cat")).all()
    assert (draw_cam(_grey(), np.full((2, 2), np.nan), "cat")[:500] == 100).all()


def test_title_stands_beneath():
    one, other = (draw_cam(_grey(), np.zeros((2, 2)), text) for text in ("cat", "dog"))
    assert one.shape[0] > 500 and (one[:500] == other[:500]).all()
    assert (one[500:] != other[500:]).any()

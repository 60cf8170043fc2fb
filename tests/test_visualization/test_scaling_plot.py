import cv2
import numpy as np

from afa.visualization.scaling_plot import scaling_plot


def test_one_picture_for_each_varied_size():
    rows = [dict(name="crop", value=v, step=v / 100, par=v / 1000) for v in (160, 320)]
    one = cv2.imdecode(np.frombuffer(scaling_plot(rows), np.uint8), cv2.IMREAD_COLOR)
    rows += [dict(name="processes", value=2, step=1.0)]
    two = cv2.imdecode(np.frombuffer(scaling_plot(rows), np.uint8), cv2.IMREAD_COLOR)
    assert two.shape[0] == one.shape[0] and two.shape[1] == 2 * one.shape[1]
    assert (one[..., 0] > 150).any() and one.min() < 50  # lines and letters

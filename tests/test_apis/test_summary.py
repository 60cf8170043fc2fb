import cv2
import numpy as np
import pytest

from afa.apis.summary import device_name, write_picture


def test_picture_is_written_in_rgb(tmp_path):
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 200
    write_picture(tmp_path / "a.png", image)
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(OSError):
        write_picture(tmp_path / "nowhere" / "a.png", image)


def test_device_is_named():
    assert device_name() == "CPU (1 thread)"

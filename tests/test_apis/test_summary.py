import json

import cv2
import numpy as np
import pytest
import torch

from afa.apis.summary import device_name, write_json, write_picture


def test_json_has_plain_numbers_and_null_for_what_is_not_finite(tmp_path):
    path = tmp_path / "a.json"
    content = dict(a=np.float32(0.5), b=float("nan"), c=[torch.tensor(2), float("inf")], d={1: "x"})
    write_json(path, content)
    assert json.loads(path.read_text()) == dict(a=0.5, b=None, c=[2, None], d={"1": "x"})


def test_picture_is_written_in_rgb(tmp_path):
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 200
    write_picture(tmp_path / "a.png", image)
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(OSError):
        write_picture(tmp_path / "nowhere" / "a.png", image)


def test_device_is_named():
    assert device_name() == "CPU (1 thread)"

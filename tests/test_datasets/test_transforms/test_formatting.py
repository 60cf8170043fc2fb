import numpy as np
import torch
from mmengine.dataset import Compose

from afa.datasets import PackWSSSInputs


def test_label_box_and_id_are_packed():
    label = np.array([0, 1, 1], np.float32)
    out = PackWSSSInputs()(
        dict(img=np.zeros((4, 5, 3), np.uint8), gt_label=label, img_id="a", img_box=(1, 4, 0, 5))
    )
    assert out["inputs"].shape == (3, 4, 5)
    sample = out["data_samples"]
    assert sample.gt_label.dtype == torch.float32
    assert sample.gt_label.tolist() == [0, 1, 1]
    assert sample.metainfo["num_labels"] == 2
    assert sample.metainfo["img_id"] == "a" and sample.metainfo["img_box"] == (1, 4, 0, 5)
    label[0] = 5  # the sample has its own copy
    assert sample.gt_label.tolist() == [0, 1, 1]


def test_sub_categories_are_packed():
    results = dict(img=np.zeros((2, 2, 3), np.uint8), gt_sub_label=np.array([0, 1, 0, 0]))
    sample = PackWSSSInputs()(results)["data_samples"]
    assert sample.gt_sub_label.dtype == torch.float32
    assert sample.gt_sub_label.tolist() == [0, 1, 0, 0]
    assert "gt_label" not in sample


def test_without_crop_the_box_is_the_whole_input():
    sample = PackWSSSInputs()(dict(img=np.zeros((4, 5, 3), np.uint8)))["data_samples"]
    assert sample.metainfo["img_box"] == (0, 4, 0, 5)
    assert "num_labels" not in sample.metainfo
    for key in ("gt_label", "gt_sub_label", "gt_sem_seg"):
        assert key not in sample


def test_masks_are_packed_as_in_mmseg():
    mask = np.arange(4, dtype=np.uint8).reshape(2, 2)
    sample = PackWSSSInputs()(dict(img=np.zeros((2, 2, 3), np.uint8), gt_seg_map=mask))[
        "data_samples"
    ]
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert sample.gt_sem_seg.data.tolist() == [[[0, 1], [2, 3]]]


def test_label_follows_the_sample_to_another_type():
    sample = PackWSSSInputs()(
        dict(img=np.zeros((2, 2, 3), np.uint8), gt_label=np.ones(2, np.float32))
    )["data_samples"]
    assert sample.to(torch.float64).gt_label.dtype == torch.float64


def test_box_is_right_after_flip_and_crop(tree):
    pipeline = Compose(
        [
            dict(type="LoadPhoto"),
            dict(type="RandomScale", ratio_range=(0.5, 0.5)),
            dict(type="RandomFlip", prob=1.0),
            dict(type="RandomCropPad", crop_size=(8, 8), pad_val=0),
            dict(type="PackWSSSInputs"),
        ]
    )
    out = pipeline(dict(img_path=str(tree / "img" / "c.jpg")))  # 6 x 8, grey 120
    y0, y1, x0, x1 = out["data_samples"].metainfo["img_box"]
    assert (y1 - y0, x1 - x0) == (3, 4)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[y0:y1, x0:x1] = True
    assert torch.equal(out["inputs"].float().mean(0) > 60, inside)

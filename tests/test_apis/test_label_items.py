from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from toy_labels import label_cfg, write_toy_data

from afa.apis.label_items import CountItem, Items, PhotoItem
from afa.apis.split_data import SplitData
from afa.evaluation.confusion import confusion_matrix
from afa.utils.label_png import write_label_png
from afa.utils.photo import read_photo


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    init_default_scope("mmseg")
    return SplitData(label_cfg(folder, write_toy_data(folder / "shapes")), "val")


def _odd(index):
    if index == 1:
        raise ValueError("photo 1 is broken")
    return index * 10


@pytest.mark.parametrize("num_workers", [0, 1])
def test_items_come_in_order_and_faults_as_sentences(num_workers):
    found = list(Items(_odd, [2, 1, 0]).loader(num_workers))
    assert found == [(2, 20, None), (1, None, "photo 1 is broken"), (0, 0, None)]


def test_arrays_stay_arrays():
    ((_, item, _),) = Items(lambda index: dict(a=np.zeros(2), b=(3, 4)), [0]).loader(0)
    assert isinstance(item["a"], np.ndarray) and item["b"] == (3, 4)


def test_a_photo_comes_with_what_is_asked_for(data):
    item = PhotoItem(data, None, False)(0)
    assert item["photo"] is None and item["truth"] is None
    photo = read_photo(data.dataset.get_data_info(0)["img_path"])
    assert item["size"] == photo.shape[:2] and item["packed"]["inputs"].shape[0] == 3
    item = PhotoItem(data, 1000, True)(0)
    assert np.array_equal(item["photo"], photo[..., ::-1])
    assert np.array_equal(item["truth"], data.mask(0, photo.shape[:2]))


def test_a_large_photo_is_reduced_for_the_crf(data):
    whole, item = PhotoItem(data, 1000, False)(0), PhotoItem(data, 20, False)(0)
    height, width = whole["size"]
    assert item["size"] == whole["size"] and max(item["photo"].shape) == 20
    assert item["photo"].shape[0] == round(20 * height / max(height, width))
    assert abs(float(item["photo"].mean()) - float(whole["photo"].mean())) < 2


def test_label_maps_are_counted_from_their_files(data, tmp_path):
    size = data.photo(2).shape[:2]
    label = np.random.choice([0, 1, 2, 255], size).astype(np.uint8)
    write_label_png(tmp_path / "val_00002.png", label)
    counts = CountItem(data, lambda img_id: Path(tmp_path) / f"{img_id}.png")(2)
    truth = torch.from_numpy(data.mask(2, size))
    assert torch.equal(counts, confusion_matrix(torch.from_numpy(label), truth, 7))
    assert counts[:, -1].sum() > 0


def test_a_mask_with_values_that_are_no_class_is_named(data, tmp_path, monkeypatch):
    write_label_png(tmp_path / "val_00002.png", np.zeros((4, 5), np.uint8))
    monkeypatch.setattr(data, "mask", lambda index, size: np.full(size, 77, np.uint8))
    with pytest.raises(ValueError, match="'val_00002': the mask has the value 77"):
        CountItem(data, lambda img_id: Path(tmp_path) / f"{img_id}.png")(2)

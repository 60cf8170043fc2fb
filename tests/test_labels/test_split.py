import numpy as np
import pytest
from PIL import Image
from toy_labels import label_cfg, write_toy_data

from afa.datasets.shapes_generator import CLASSES
from afa.files.label_png import read_label_png
from afa.files.photo import read_photo
from afa.labels.split import SplitData, prepare_item, prepared


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_toy_data(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture
def cfg(root, tmp_path):
    return label_cfg(tmp_path, root)


def test_train_is_seen_as_a_test_sees_it(cfg, root):
    data = SplitData(cfg, "train")
    assert data.ids == [f"train_{i:05d}" for i in range(3)] and len(data) == 3
    assert data.classes == list(CLASSES) and len(data.palette) == len(CLASSES)
    photo = np.array(Image.open(root / "JPEGImages/train_00001.jpg"))
    packed = data.dataset[1]
    assert max(packed["inputs"].shape) == 56  # resized, not cropped
    assert packed["data_samples"].metainfo["ori_shape"] == photo.shape[:2]
    assert "gt_sem_seg" not in packed["data_samples"]
    assert data.photo(1).shape == photo.shape
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline[0]["fit"] = (28, 28)
    data = SplitData(cfg, "train")
    assert data.dataset.pipeline.transforms[0].fit and data.photo(1).shape == photo.shape


def test_masks_are_those_of_the_data_set(cfg, root):
    data = SplitData(cfg, "val")
    truth = read_label_png(root / "SegmentationClassAug/val_00002.png")
    assert data.has_mask(2) and np.array_equal(data.mask(2, truth.shape), truth)
    with pytest.raises(ValueError, match=r"The mask '.*val_00002.png' has .* its photo 3 x 4"):
        data.mask(2, (3, 4))


def test_no_masks_are_needed(cfg):
    cfg.train_dataloader.dataset.data_prefix.seg_map_path = "nowhere"
    data = SplitData(cfg, "train")
    assert not any(data.has_mask(i) for i in range(3))
    del cfg.train_dataloader.dataset.data_prefix["seg_map_path"]
    assert not SplitData(cfg, "train").has_mask(0)


def test_image_labels_are_read_where_they_are_wanted(cfg):
    data = SplitData(cfg, "val")
    assert data.has_labels and data.image_label(0).shape == (len(CLASSES) - 1,)
    present = set(np.unique(data.mask(0, data.photo(0).shape[:2])) - 1)
    assert present - {-1, 255} <= set(np.flatnonzero(data.image_label(0)))
    cfg.val_dataloader.dataset.image_labels = "nowhere"
    with pytest.raises(ValueError, match="nowhere"):
        SplitData(cfg, "val")
    assert not SplitData(cfg, "val", with_labels=False).has_labels


def test_a_list_keeps_its_order_and_finds_its_folder(cfg, tmp_path):
    (tmp_path / "list.txt").write_text("val_00003\ntrain_00001\n")
    data = SplitData(cfg, str(tmp_path / "list.txt"))
    assert data.ids == ["val_00003", "train_00001"]
    cfg.train_dataloader.dataset.data_prefix.img_path = "Annotations"  # no photos there
    (tmp_path / "list.txt").write_text("val_00003\n")
    assert SplitData(cfg, str(tmp_path / "list.txt")).ids == ["val_00003"]


def test_a_list_of_a_set_that_has_its_own_splits(cfg, tmp_path):
    (tmp_path / "list.txt").write_text("val_00002\nval_00000\n")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        del loader.dataset["ann_file"]
    assert len(SplitData(cfg, "val")) == 7  # every photo of the folder
    cfg.train_dataloader.dataset.pop("image_labels")
    data = SplitData(cfg, str(tmp_path / "list.txt"))
    assert data.ids == ["val_00002", "val_00000"] and not data.has_labels
    (tmp_path / "list.txt").write_text("val_00002\nnobody\n")
    with pytest.raises(
        ValueError, match=r"1 of 2 images .* not in the data set, the first is 'nob"
    ):
        SplitData(cfg, str(tmp_path / "list.txt"))


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ("nowhere.txt", r"--split must be one of train, val, test or a file .* 'nowhere.txt'"),
        ("test", "The config has no test_dataloader"),
    ],
)
def test_unknown_splits_are_said(cfg, split, text):
    cfg.pop("test_dataloader")
    with pytest.raises(ValueError, match=text):
        SplitData(cfg, split)


def test_a_photo_that_is_not_there_is_said(cfg, tmp_path):
    (tmp_path / "list.txt").write_text("val_00000\nnobody\n")
    with pytest.raises(ValueError, match="1 of 2 image files are missing"):
        SplitData(cfg, str(tmp_path / "list.txt"))


def test_joined_sets_and_configs_without_test_are_refused(cfg):
    loader = cfg.train_dataloader
    loader.dataset = dict(type="ConcatDataset", datasets=[loader.dataset, loader.dataset])
    with pytest.raises(ValueError, match="train_dataloader joins 2 data sets"):
        SplitData(cfg, "train")
    with pytest.raises(ValueError, match="needs a val_dataloader or test_dataloader"):
        SplitData(dict(train_dataloader=loader), "train")


def test_images_with_mask():
    class Data(list):
        split = "train"

        def has_mask(self, index):
            return self[index]

    assert SplitData.images_with_mask(Data([True, False, True])) == {0, 2}
    with pytest.raises(ValueError, match="no image of 'train' has one"):
        SplitData.images_with_mask(Data([False]))


# ---- what data workers prepare ------------------------------------------------------------------


@pytest.fixture
def data(cfg):
    return SplitData(cfg, "val")


def _odd(index):
    if index == 1:
        raise ValueError("photo 1 is broken")
    return index * 10


@pytest.mark.parametrize("num_workers", [0, 1])
def test_items_come_in_order_and_faults_as_sentences(num_workers):
    found = prepared(_odd, [2, 0, 1], num_workers)
    assert [next(found), next(found)] == [(2, 20), (0, 0)]
    with pytest.raises(ValueError, match=r"^photo 1 is broken$"):
        next(found)


def test_arrays_stay_arrays():
    ((_, item),) = prepared(lambda index: dict(a=np.zeros(2), b=(3, 4)), [0], 0)
    assert isinstance(item["a"], np.ndarray) and item["b"] == (3, 4)


def test_a_photo_comes_with_what_is_asked_for(data):
    item = prepare_item(data, None, False, 0)
    assert item.photo is None and item.truth is None
    photo = read_photo(data.dataset.get_data_info(0)["img_path"])
    assert item.size == photo.shape[:2] and item.packed["inputs"].shape[0] == 3
    item = prepare_item(data, 1000, True, 0)
    assert np.array_equal(item.photo, photo[..., ::-1])
    assert np.array_equal(item.truth, data.mask(0, photo.shape[:2]))


def test_a_large_photo_is_reduced_for_the_crf(data):
    whole, item = (prepare_item(data, side, False, 0) for side in (1000, 20))
    height, width = whole.size
    assert item.size == whole.size and max(item.photo.shape) == 20
    assert item.photo.shape[0] == round(20 * height / max(height, width))
    assert abs(float(item.photo.mean()) - float(whole.photo.mean())) < 2


def test_data_workers_are_those_of_the_evaluation_but_at_most_the_cores(cfg, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    cfg.test_dataloader.num_workers, cfg.val_dataloader.num_workers = 2, 3
    assert SplitData(cfg, "val").num_workers == 3
    cfg.val_dataloader.num_workers = 16
    assert SplitData(cfg, "val").num_workers == 4
    cfg.pop("val_dataloader")
    assert SplitData(cfg, "test").num_workers == 2

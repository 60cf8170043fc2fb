import pytest
from mmengine.config import Config

import afa.datasets  # noqa: F401  registers the data sets
from afa.engine.config.classes import check_classes, dataset_classes, fill_num_classes

STAGES = ("train", "val", "test")


@pytest.fixture
def cfg(tmp_path):
    """A model whose heads take their number of classes from photos of one's own."""
    (tmp_path / "labels.csv").write_text("photo,labels\na.jpg,cat\nb.jpg,dog;cat\n")
    loader = dict(dataset=dict(type="OwnPhotosDataset", data_root=str(tmp_path)))
    model = dict(
        cls_head=dict(num_classes=None),
        decode_head=[dict(num_classes=None), dict(num_classes=7)],
        affinity_head=dict(in_channels=16),
    )
    return Config(dict(model=model, train_dataloader=loader, val_dataloader=loader))


def numbers(cfg):
    heads = [cfg.model.cls_head, *cfg.model.decode_head]
    return [head.num_classes for head in heads]


def test_none_is_filled_in_and_numbers_are_kept(cfg):
    fill_num_classes(cfg)
    assert numbers(cfg) == [3, 3, 7]


def test_a_fixed_data_set_fills_in_too(cfg):
    cfg.train_dataloader.dataset = dict(type="VOC12Dataset")
    fill_num_classes(cfg)
    assert numbers(cfg) == [21, 21, 7]


def test_without_data_nothing_is_filled_in(cfg):
    cfg.merge_from_dict({"train_dataloader.dataset.data_root": "/nowhere"})
    fill_num_classes(cfg)
    assert numbers(cfg) == [None, None, 7]
    cfg.model.decode_head.pop()
    problems = list(check_classes(cfg, ()))
    assert len(problems) == 1
    assert problems[0].startswith("model.cls_head, model.decode_head[0]: num_classes is None")
    assert "set data_root" in problems[0]


def test_faults_of_the_labels(cfg, tmp_path):
    (tmp_path / "labels.csv").write_text("photo,labels\na.jpg,cat\na.jpg,dog\n")
    with pytest.raises(ValueError, match=r"line 3 names 'a.jpg'"):
        fill_num_classes(cfg)
    problems = [line for line in check_classes(cfg, STAGES) if "None" not in line]
    assert len(problems) == 2
    assert problems[0].startswith("train_dataloader.dataset: '") and "line 3" in problems[0]


def test_other_labels_than_the_heads_are_made_for(cfg, tmp_path):
    fill_num_classes(cfg)
    cfg.model.decode_head.pop()
    assert list(check_classes(cfg, STAGES)) == []
    (tmp_path / "labels.csv").write_text("photo,cat,dog,bird\na.jpg,1,0,0\n")
    problems = list(check_classes(cfg, ("train",)))
    assert problems == [
        f"{head}: num_classes is 3, but train_dataloader.dataset has 4 classes (the background "
        "counts)."
        for head in ("model.cls_head", "model.decode_head[0]")
    ]
    assert list(check_classes(cfg, ())) == []  # prediction does not ask what the labels say today


def test_classes_of_an_entry():
    assert len(dataset_classes(dict(type="VOC12Dataset"))) == 21
    metainfo = dict(classes=("background", "cat"))
    assert dataset_classes(dict(type="WSSSDataset", metainfo=metainfo)) == ["background", "cat"]
    assert dataset_classes(dict(type="WSSSDataset")) is None

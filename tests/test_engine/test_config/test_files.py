import pytest
from mmengine.config import Config
from toy_hub import COMMIT, REPO, hub_at

import afa.datasets  # noqa: F401  registers the data sets
from afa.engine.config import files
from afa.engine.config.files import (
    check_classes,
    dataset_classes,
    fill_num_classes,
    pin_weights,
)


@pytest.fixture
def cfg(tmp_path):
    """One data set in the VOC layout, whole."""
    for name in ("JPEGImages", "Masks"):
        (tmp_path / name).mkdir()
    (tmp_path / "train.txt").write_text("a\n")
    dataset = dict(
        type="BaseSegDataset",
        data_root=str(tmp_path),
        ann_file="train.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="Masks"),
    )
    return dict(train_dataloader=dict(dataset=dataset))


def _dataset(cfg):
    return cfg["train_dataloader"]["dataset"]


def _missing(cfg, stages):
    return list(files.check_files(cfg, stages))


def test_nothing_is_missing(cfg):
    assert _missing(cfg, ("train", "val")) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(data_root="/nowhere"), "there is no folder '/nowhere' (data_root)"),
        (dict(ann_file="val.txt"), "val.txt' (ann_file)"),
        (dict(image_labels="labels.json"), "labels.json' (image_labels)"),
        (dict(sub_labels="sub_labels.json"), "sub_labels.json' (sub_labels)"),
        (dict(data_prefix=dict(img_path="Images")), "Images' (data_prefix.img_path)"),
        (
            dict(
                pipeline=[dict(type="LoadAnnotations")],
                data_prefix=dict(img_path="Masks", seg_map_path="X"),
            ),
            "X' (data_prefix.seg_map_path)",
        ),
    ],
)
def test_each_missing_file_is_one_sentence(cfg, change, text):
    _dataset(cfg).update(change)
    problems = _missing(cfg, ("train",))
    assert len(problems) == 1
    assert problems[0].startswith("train_dataloader.dataset: there is no")
    assert text in problems[0] and "set data_root" in problems[0]


@pytest.mark.parametrize("test_mode", [False, True])
def test_what_loads_no_masks_needs_none(cfg, test_mode):
    _dataset(cfg).update(test_mode=test_mode, pipeline=[dict(type="LoadOptionalMask")])
    _dataset(cfg)["data_prefix"]["seg_map_path"] = "nowhere"
    assert _missing(cfg, ("train",)) == []


def test_empty_split(cfg, tmp_path):
    (tmp_path / "train.txt").write_text("")
    assert "is empty: a split needs at least one image" in _missing(cfg, ("train",))[0]


def test_data_set_in_a_wrapper_is_found(cfg):
    inner = dict(_dataset(cfg), data_root="/nowhere")
    cfg["train_dataloader"]["dataset"] = dict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", dataset=inner)]
    )
    (problem,) = _missing(cfg, ("train",))
    assert problem.startswith("train_dataloader.dataset.datasets[0].dataset: there is no folder")


def test_only_the_stages_that_run_count(cfg):
    _dataset(cfg)["data_root"] = "/nowhere"
    assert _missing(cfg, ("test",)) == []


def test_missing_checkpoints():
    init_cfg = dict(type="Pretrained", checkpoint="mit_b1.pth")
    cfg = dict(model=dict(backbone=dict(init_cfg=init_cfg)), load_from="x.pth")
    problems = _missing(cfg, ("train",))
    assert problems[0].startswith("model.backbone.init_cfg.checkpoint: there is no checkpoint")
    assert problems[1].startswith("load_from: there is no checkpoint 'x.pth'")
    assert len(_missing(cfg, ("test",))) == 1  # initial weights do not matter for a test
    init_cfg["checkpoint"] = "https://example.org/mit_b1.pth"
    assert len(_missing(cfg, ("train",))) == 1


def test_weights_of_the_hub_are_pinned_where_a_stage_reads_them(tmp_path, monkeypatch):
    address, pinned = f"hf://{REPO}/a.safetensors", f"hf://{REPO}@{COMMIT}/a.safetensors"
    init_cfg = dict(type="Pretrained", checkpoint=address)
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=init_cfg)), load_from=address))
    with hub_at({"a.safetensors": b""}, tmp_path, monkeypatch):
        pin_weights(cfg, ("test",))
        assert (cfg.load_from, cfg.model.backbone.init_cfg.checkpoint) == (pinned, address)
        pin_weights(cfg, ("train",))
        assert cfg.model.backbone.init_cfg.checkpoint == pinned
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=None)), load_from="a.pth"))
    pin_weights(cfg, ("train",))
    assert cfg.load_from == "a.pth"


STAGES = ("train", "val", "test")


@pytest.fixture
def labels_cfg(tmp_path):
    """A model whose heads take their number of classes from photos of one's own."""
    (tmp_path / "labels.csv").write_text("photo,labels\na.jpg,cat\nb.jpg,dog;cat\n")
    loader = dict(dataset=dict(type="OwnPhotosDataset", data_root=str(tmp_path)))
    model = dict(
        cls_head=dict(num_classes=None),
        decode_head=[dict(num_classes=None), dict(num_classes=7)],
        affinity_head=dict(in_channels=16),
    )
    return Config(dict(model=model, train_dataloader=loader, val_dataloader=loader))


def numbers(labels_cfg):
    heads = [labels_cfg.model.cls_head, *labels_cfg.model.decode_head]
    return [head.num_classes for head in heads]


def test_none_is_filled_in_and_numbers_are_kept(labels_cfg):
    fill_num_classes(labels_cfg)
    assert numbers(labels_cfg) == [3, 3, 7]


def test_a_fixed_data_set_fills_in_too(labels_cfg):
    labels_cfg.train_dataloader.dataset = dict(type="VOC12Dataset")
    fill_num_classes(labels_cfg)
    assert numbers(labels_cfg) == [21, 21, 7]


def test_without_data_nothing_is_filled_in(labels_cfg):
    labels_cfg.merge_from_dict({"train_dataloader.dataset.data_root": "/nowhere"})
    fill_num_classes(labels_cfg)
    assert numbers(labels_cfg) == [None, None, 7]
    labels_cfg.model.decode_head.pop()
    problems = list(check_classes(labels_cfg, ()))
    assert len(problems) == 1
    assert problems[0].startswith("model.cls_head, model.decode_head[0]: num_classes is None")
    assert "set data_root" in problems[0]


def test_faults_of_the_labels(labels_cfg, tmp_path):
    (tmp_path / "labels.csv").write_text("photo,labels\na.jpg,cat\na.jpg,dog\n")
    with pytest.raises(ValueError, match=r"line 3 names 'a.jpg'"):
        fill_num_classes(labels_cfg)
    problems = [line for line in check_classes(labels_cfg, STAGES) if "None" not in line]
    assert len(problems) == 2
    assert problems[0].startswith("train_dataloader.dataset: '") and "line 3" in problems[0]


def test_other_labels_than_the_heads_are_made_for(labels_cfg, tmp_path):
    fill_num_classes(labels_cfg)
    labels_cfg.model.decode_head.pop()
    assert list(check_classes(labels_cfg, STAGES)) == []
    (tmp_path / "labels.csv").write_text("photo,cat,dog,bird\na.jpg,1,0,0\n")
    problems = list(check_classes(labels_cfg, ("train",)))
    assert problems == [
        f"{head}: num_classes is 3, but train_dataloader.dataset has 4 classes (the background "
        "counts)."
        for head in ("model.cls_head", "model.decode_head[0]")
    ]
    assert list(check_classes(labels_cfg, ())) == []  # prediction asks no labels


def test_classes_of_an_entry():
    assert len(dataset_classes(dict(type="VOC12Dataset"))) == 21
    metainfo = dict(classes=("background", "cat"))
    assert dataset_classes(dict(type="WSSSDataset", metainfo=metainfo)) == ["background", "cat"]
    assert dataset_classes(dict(type="WSSSDataset")) is None

import pytest

from afa.engine.config.files import check_files


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


def test_nothing_is_missing(cfg):
    assert check_files(cfg, ("train", "val")) == []


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
    problems = check_files(cfg, ("train",))
    assert len(problems) == 1
    assert problems[0].startswith("train_dataloader.dataset: there is no")
    assert text in problems[0] and "set data_root" in problems[0]


@pytest.mark.parametrize("test_mode", [False, True])
def test_what_loads_no_masks_needs_none(cfg, test_mode):
    _dataset(cfg).update(test_mode=test_mode, pipeline=[dict(type="LoadOptionalMask")])
    _dataset(cfg)["data_prefix"]["seg_map_path"] = "nowhere"
    assert check_files(cfg, ("train",)) == []


def test_empty_split(cfg, tmp_path):
    (tmp_path / "train.txt").write_text("")
    assert "is empty: a split needs at least one image" in check_files(cfg, ("train",))[0]


def test_data_set_in_a_wrapper_is_found(cfg):
    inner = dict(_dataset(cfg), data_root="/nowhere")
    cfg["train_dataloader"]["dataset"] = dict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", dataset=inner)]
    )
    (problem,) = check_files(cfg, ("train",))
    assert problem.startswith("train_dataloader.dataset.datasets[0].dataset: there is no folder")


def test_only_the_stages_that_run_count(cfg):
    _dataset(cfg)["data_root"] = "/nowhere"
    assert check_files(cfg, ("test",)) == []


def test_missing_checkpoints():
    init_cfg = dict(type="Pretrained", checkpoint="mit_b1.pth")
    cfg = dict(model=dict(backbone=dict(init_cfg=init_cfg)), load_from="x.pth")
    problems = check_files(cfg, ("train",))
    assert problems[0].startswith("model.backbone.init_cfg.checkpoint: there is no checkpoint")
    assert problems[1].startswith("load_from: there is no checkpoint 'x.pth'")
    assert len(check_files(cfg, ("test",))) == 1  # initial weights do not matter for a test
    init_cfg["checkpoint"] = "https://example.org/mit_b1.pth"
    assert len(check_files(cfg, ("train",))) == 1

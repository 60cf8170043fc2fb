import json

import numpy as np
import pytest
from mmengine.config import ConfigDict
from toy_photos import make_cfg, write_checkpoint, write_photos

from afa.engine.runner import build_runner
from afa.engine.test_options import VOC_FOLDER, EvaluationOptions, apply_options, write_report
from afa.files.label_png import read_label_png


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (dict(tta_merge="mean"), "--tta-merge has no effect without --tta"),
        (dict(crf_workers=2), "--crf-workers has no effect without --crf"),
        (dict(crf_workers=0), "--crf-workers has no effect without --crf"),
        (dict(out="here"), "--out has no effect without --format-only"),
        (dict(overwrite=True), "--overwrite has no effect without --format-only"),
        (dict(crf=True, crf_workers=-1), "--crf-workers must be 0 or more, got -1"),
    ],
)
def test_options_without_effect_or_out_of_range_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        EvaluationOptions(**given)


def test_options_that_go_together():
    EvaluationOptions()
    EvaluationOptions(tta=True, tta_merge="mean", crf=True, crf_workers=0)
    EvaluationOptions(format_only=True, out="here", overwrite=True, split="test")


PAPER_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
TTA_PIPELINE = [
    dict(type="LoadPhoto"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale_factor=f, keep_ratio=True) for f in (0.5, 1.0)],
            [dict(type="RandomFlip", prob=p, direction="horizontal") for p in (0.0, 1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackWSSSInputs")],
        ],
    ),
]


@pytest.fixture
def root(tmp_path):
    write_photos(tmp_path / "data", splits=("val",))
    return tmp_path / "data"


def _applied(root, tmp_path, changes=None, **options):
    cfg = make_cfg(root, tmp_path / "work", **(changes or {}))
    apply_options(cfg, EvaluationOptions(**options))
    return cfg


def _run(root, tmp_path, changes=None, **options):
    cfg = make_cfg(root, tmp_path / "work", **(changes or {}))
    cfg.load_from = write_checkpoint(tmp_path / "model.pth")
    return build_runner(cfg, stage="test", options=EvaluationOptions(**options)).test()


# ---- scales -------------------------------------------------------------------------------------


def test_scales_need_nothing_in_the_config(root, tmp_path):
    figures = _run(root, tmp_path, tta=True)
    assert {"seg/mIoU", "seg/IoU.a"} <= set(figures)
    # Neither classification nor labels from CAMs, which have scales of their own.
    assert not any(key.startswith(("cls/", "cam/")) for key in figures)


def test_settings_come_from_the_config_and_the_command_line(root, tmp_path):
    changes = dict(model__test_cfg__tta=dict(scales=(1.0, 2.0), merge="max"))
    cfg = _applied(root, tmp_path, changes, tta=True, tta_merge="mean")
    assert cfg.model.type == "MultiScaleTTA" and cfg.model.module.type == "AFA"
    assert (cfg.model.scales, cfg.model["merge"]) == ((1.0, 2.0), "mean")
    assert _applied(root, tmp_path, changes, tta=True).model["merge"] == "max"


def test_a_misspelt_setting_is_named(root, tmp_path):
    changes = dict(model__test_cfg__tta=dict(scale=(1.0,)))
    with pytest.raises(ValueError, match="no argument 'scale'; did you mean 'scales'"):
        _run(root, tmp_path, changes, tta=True)


def test_classes_are_compared_with_those_of_a_wrapped_model(root, tmp_path):
    changes = dict(model__decode_head__num_classes=7)
    with pytest.raises(ValueError, match=r"model\.module\.decode_head: num_classes is 7, but"):
        _run(root, tmp_path, changes, tta=True)


def test_a_tta_model_of_the_config_works_as_in_mmseg(root, tmp_path):
    changes = dict(tta_model=dict(type="SegTTAModel"), tta_pipeline=TTA_PIPELINE)
    figures = _run(root, tmp_path, changes, tta=True)
    assert "seg/mIoU" in figures
    for more, text in (
        (dict(tta_merge="mean"), "--tta-merge is not for"),
        (dict(crf=True), "--crf cannot see the merged logits"),
    ):
        with pytest.raises(ValueError, match=text):
            _applied(root, tmp_path, changes, tta=True, **more)
    changes.pop("tta_pipeline")
    with pytest.raises(ValueError, match="tta_model but no tta_pipeline"):
        _applied(root, tmp_path, changes, tta=True)


def test_masks_are_taken_out_of_a_tta_pipeline_too(root, tmp_path):
    changes = dict(tta_model=dict(type="SegTTAModel"), tta_pipeline=TTA_PIPELINE)
    cfg = _applied(root, tmp_path, changes, tta=True, format_only=True)
    steps = cfg.test_dataloader.dataset.pipeline[1].transforms
    assert [[step.type for step in group] for group in steps] == [
        ["Resize", "Resize"],
        ["RandomFlip", "RandomFlip"],
        ["PackWSSSInputs"],
    ]


# ---- CRF ----------------------------------------------------------------------------------------


def test_the_crf_is_measured_beside_the_segmentation(root, tmp_path):
    frequent = dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg", classes=["a", "b"])
    changes = dict(
        test_evaluator=[dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"), frequent],
        model__test_cfg__crf=dict(bi_rgb_std=13, label_thr=0.1, max_side=500),
    )
    cfg = _applied(root, tmp_path, changes, crf=True, crf_workers=3)
    assert cfg.test_cfg == dict(
        type="CRFTestLoop",
        crf=dict(type="DenseCRF", bi_rgb_std=13),
        num_workers=3,
        label_thr=0.1,
        max_side=500,
    )
    assert cfg.test_evaluator[:2] == changes["test_evaluator"]
    assert cfg.test_evaluator[2] == dict(frequent, field="pred_crf", prefix="crf")
    assert cfg.model.test_cfg.seg_logits == "head" and cfg.model.test_cfg.pseudo_labels


def test_with_scales_the_merged_logits_are_kept(root, tmp_path):
    cfg = _applied(root, tmp_path, crf=True, tta=True)
    assert cfg.model.seg_logits == "head"
    assert "seg_logits" not in cfg.model.module.test_cfg


def test_other_loops_and_no_metric_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r"--crf replaces TestLoop, but test_cfg .* is MyLoop"):
        _applied(root, tmp_path, dict(test_cfg=dict(type="MyLoop")), crf=True)
    for metrics in ([dict(type="MultiLabelMetric")], None):
        with pytest.raises(ValueError, match="--crf needs a metric of the segmentation"):
            _applied(root, tmp_path, dict(test_evaluator=metrics), crf=True)


# ---- another list -------------------------------------------------------------------------------


def test_a_list_beside_the_configs_own(root, tmp_path):
    (root / "ImageSets/test.txt").write_text("photo_03\n")
    cfg = _applied(root, tmp_path, split="test")
    assert cfg.test_dataloader.dataset.ann_file == "ImageSets/test.txt"
    assert cfg.val_dataloader.dataset.ann_file == "ImageSets/val.txt"


def test_a_list_of_another_loader_comes_with_its_folders(root, tmp_path):
    cfg = make_cfg(root, tmp_path)
    other = dict(ann_file="lists/train.txt", data_prefix=dict(img_path="train2014"), type="Any")
    cfg.train_dataloader = dict(dataset=other)
    apply_options(cfg, EvaluationOptions(split="train"))
    dataset = cfg.test_dataloader.dataset
    assert dataset.ann_file == "lists/train.txt" and dataset.type == "WSSSDataset"
    assert dataset.data_prefix == dict(img_path="train2014")


@pytest.mark.parametrize("split", ["tset", "../ImageSets/val", "/etc/passwd"])
def test_a_list_that_is_not_there(root, tmp_path, split):
    with pytest.raises(ValueError, match=f"no list '{split}.txt'.*takes one of val"):
        _applied(root, tmp_path, split=split)


def test_several_data_sets_have_no_one_list(root, tmp_path):
    cfg = make_cfg(root, tmp_path)
    one = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = ConfigDict(type="ConcatDataset", datasets=[one, one])
    with pytest.raises(ValueError, match="--split needs a test_dataloader with one data set"):
        apply_options(cfg, EvaluationOptions(split="val"))


# ---- files instead of figures -------------------------------------------------------------------


def test_label_maps_without_truth_and_image_labels(root, tmp_path):
    for path in root.glob("SegmentationClassAug/*"):
        path.unlink()
    (root / "SegmentationClassAug").rmdir()
    (root / "image_labels.json").unlink()
    (root / "ImageSets/test.txt").write_text("photo_03\nphoto_01\n")
    figures = _run(root, tmp_path, format_only=True, split="test", crf=True, crf_workers=0)
    assert figures == {}
    folder = tmp_path / "work/format-test/results/WSSS/test"
    assert sorted(path.name for path in folder.iterdir()) == ["photo_01.png", "photo_03.png"]
    label = read_label_png(folder / "photo_03.png")
    assert label.shape != (48, 48) and set(np.unique(label)) <= {0, 1, 2, 3}
    assert not list(tmp_path.rglob("*.tar.gz"))  # only VOC has a server that wants one


def test_places_of_the_files(root, tmp_path):
    changes = dict(test_dataloader__dataset__type="VOC12Dataset")
    metric = _applied(root, tmp_path, changes, format_only=True).test_evaluator
    assert (metric.folder, metric.archive) == (VOC_FOLDER, "results.tar.gz")
    assert metric.out_dir == str(tmp_path / "work/format-val") and metric.field == "pred_sem_seg"
    changes = dict(test_dataloader__dataset__type="COCO14Dataset")
    metric = _applied(
        root, tmp_path, changes, format_only=True, out="here", crf=True
    ).test_evaluator
    assert metric.folder == "results/COCO14/val" and "archive" not in metric
    assert (metric.out_dir, metric.field) == ("here", "pred_crf")


def test_sets_whose_labels_file_names_the_splits(root, tmp_path):
    entry = dict(type="OwnPhotosDataset", data_root="x", image_labels="l.csv", split="val")
    steps = ("LoadPhoto", "LoadOptionalMask", "PackWSSSInputs")
    entry["pipeline"] = [dict(type=name) for name in steps]
    changes = dict(test_dataloader__dataset=dict(_delete_=True, **entry))
    cfg = _applied(root, tmp_path, changes, format_only=True, split="test")
    dataset = cfg.test_dataloader.dataset
    assert (dataset.split, dataset.image_labels) == ("test", "l.csv")  # which has the classes
    assert [step.type for step in dataset.pipeline] == ["LoadPhoto", "PackWSSSInputs"]
    assert cfg.test_evaluator.out_dir == str(tmp_path / "work/format-test")
    assert cfg.test_evaluator.folder == "results/OwnPhotos/test"


def test_only_what_the_test_needs_is_computed(root, tmp_path):
    cfg = _applied(root, tmp_path, format_only=True)
    assert cfg.model.test_cfg.pseudo_labels is False
    assert cfg.val_dataloader.dataset.pipeline[2].type == "LoadAnnotations"  # left as it was
    assert cfg.val_dataloader.dataset.image_labels == "image_labels.json"


@pytest.mark.parametrize("key", ["model", "test_dataloader"])
def test_a_config_without_what_a_test_needs(root, tmp_path, key):
    cfg = make_cfg(root, tmp_path)
    cfg.pop(key)
    with pytest.raises(ValueError, match="needs a config with model and test_dataloader"):
        apply_options(cfg, EvaluationOptions())


def test_a_test_that_can_measure_nothing_is_refused(root, tmp_path):
    pipeline = [dict(type="LoadPhoto"), dict(type="PackWSSSInputs")]
    changes = dict(
        test_dataloader__dataset__pipeline=pipeline, test_evaluator=[dict(type="WSSSIoUMetric")]
    )
    with pytest.raises(ValueError, match=r"loads no masks.*--format-only"):
        _applied(root, tmp_path, changes)
    _applied(root, tmp_path, changes, format_only=True)
    changes.pop("test_evaluator")  # with classification there is something to measure
    assert "cls/F1" in _run(root, tmp_path, changes)


def _report(tmp_path, options=None, **changes):
    write_photos(tmp_path / "data", 2)
    cfg = make_cfg(tmp_path / "data", tmp_path / "work", **changes)
    cfg.load_from = write_checkpoint(tmp_path / "model.pth")
    options = options or EvaluationOptions()
    runner = build_runner(cfg, stage="test", options=options)
    figures = {"seg/mIoU": 12.5, "seg/IoU.a": float("nan")}
    path = write_report(runner, figures, options, seconds=5.0)
    assert path.parent == tmp_path / "work" / runner.timestamp
    return json.loads(path.read_text())


def test_what_a_plain_test_leaves(tmp_path):
    report = _report(tmp_path)
    assert report["figures"] == {"seg/mIoU": 12.5, "seg/IoU.a": None}
    assert (report["num_images"], report["seconds"], report["seconds_per_image"]) == (2, 5.0, 2.5)
    assert report["tta"] is None and report["crf"] is None
    assert report["options"]["format_only"] is False
    assert report["checkpoint"] == str(tmp_path / "model.pth")


def test_tests_that_began_in_one_second_leave_a_report_each(tmp_path):
    write_photos(tmp_path / "data", 2)
    cfg = make_cfg(tmp_path / "data", tmp_path / "work")
    cfg.load_from, options = write_checkpoint(tmp_path / "model.pth"), EvaluationOptions()
    runner = build_runner(cfg, stage="test", options=options)
    paths = [write_report(runner, {"seg/mIoU": value}, options, 1.0) for value in (1.0, 2.0)]
    assert [path.name for path in paths] == ["test.json", "test-2.json"]
    assert [json.loads(path.read_text())["figures"]["seg/mIoU"] for path in paths] == [1.0, 2.0]


def test_settings_of_scales_and_crf_are_those_that_were_used(tmp_path):
    test_cfg = dict(tta=dict(scales=(1.0,)), crf=dict(num_iters=2, max_side=90))
    options = EvaluationOptions(tta=True, tta_merge="mean", crf=True, crf_workers=2)
    report = _report(tmp_path, options, model__test_cfg=test_cfg)
    assert report["tta"] == dict(scales=[1.0], flip=True, merge="mean")
    assert report["crf"]["num_iters"] == 2 and report["crf"]["bi_weight"] == 4
    assert (report["crf"]["max_side"], report["crf"]["num_workers"]) == (90, 2)


def test_a_tta_model_of_the_config_is_named(tmp_path):
    changes = dict(tta_model=dict(type="SegTTAModel"), tta_pipeline=[])
    report = _report(tmp_path, EvaluationOptions(tta=True), **changes)
    assert report["tta"] == dict(tta_model="SegTTAModel")

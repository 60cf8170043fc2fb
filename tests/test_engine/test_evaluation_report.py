import json

from toy_photos import make_cfg, write_checkpoint, write_photos

from afa.engine.evaluation_options import EvaluationOptions
from afa.engine.evaluation_report import write_report
from afa.engine.runner import build_runner


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

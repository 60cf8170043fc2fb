import json

import pytest

from afa.pipelines.run_summary import read_run


def scalars(folder, lines):
    path = folder / "20260101_000000/vis_data"
    path.mkdir(parents=True)
    (path / "scalars.json").write_text("\n".join(map(json.dumps, lines)))


def stage(tool, seconds, figures, memory=100.0, more=()):
    command = ["python", f"/repo/tools/{tool}", *more]
    return dict(
        command=command, seconds=seconds, figures=figures, peak_memory_mib=memory,
        state="finished", fingerprint="x",
    )  # fmt: skip


@pytest.fixture
def pipeline(tmp_path):
    stages = {
        "classifier": stage("train.py", 100.0, {"cls/F1": 90.0}),
        "cams": stage("pseudo_labels.py", 10.0, {"mIoU": 50.0, "IoU.a": 3.0}, memory=300.0),
        "walk": stage("random_walk.py", 20.0, {"mIoU": 60.0}),
        "segmentation": stage("train.py", 200.0, {"seg/mIoU": 55.0}),
        "test": stage("test.py", 7.0, {"seg/mIoU": 56.0, "seg/IoU.a": 5.0}),
        "test_tta_crf": stage("test.py", 9.0, {"seg/mIoU": 58.0}, more=["--tta", "--crf"]),
    }
    content = dict(
        method="Many", num_stages=6, networks=["classifier", "segmentation"], stages=stages
    )
    (tmp_path / "pipeline.json").write_text(json.dumps(content))
    for number, name in enumerate(stages, 1):
        (tmp_path / f"{number:02d}_{name}").mkdir()
    lines = [{"loss": 1, "time": 2.0, "step": 10}, {"seg/mIoU": 40.0, "step": 10}]
    lines += [{"loss": 1, "time": 1.0, "step": 20}, {"seg/mIoU": 55.0, "step": 20}]
    scalars(tmp_path / "04_segmentation", lines)
    return tmp_path


def test_a_pipeline(pipeline):
    run = read_run(pipeline)
    assert (run.name, run.num_stages, run.num_networks) == ("Many", 6, 2)
    assert run.seconds == 330 and run.peak_memory_mib == 300  # tests do not count
    assert run.labels == {"cams": 50.0, "walk": 60.0}
    assert run.label_dir == pipeline / "03_walk"
    assert run.network == pipeline / "04_segmentation"
    assert run.single == {"seg/mIoU": 56.0, "seg/IoU.a": 5.0}
    assert run.tta_crf == {"seg/mIoU": 58.0}
    assert run.curve == [(130 + 20, 40.0), (130 + 30, 55.0)]


def test_a_pipeline_that_is_tested_and_never_validated_has_a_point(pipeline):
    (scalars_file,) = pipeline.glob("04_segmentation/*/vis_data/scalars.json")
    scalars_file.unlink()
    assert read_run(pipeline).curve == [(330, 56.0)]


def test_a_training_alone(tmp_path):
    lines = [{"loss": 1, "time": 0.5, "step": 4}, {"seg/mIoU": 30.0, "step": 4}]
    scalars(tmp_path, lines)
    run = read_run(tmp_path)
    assert run.single["seg/mIoU"] == 30 and run.seconds == 2.0 and run.curve == [(2.0, 30.0)]
    assert run.network == tmp_path and run.labels == {}


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no work folder of"):
        read_run(tmp_path)
    (tmp_path / "pipeline.json").write_text('{"method": "x"}')
    with pytest.raises(ValueError, match="is not the summary of a pipeline"):
        read_run(tmp_path)

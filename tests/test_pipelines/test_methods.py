"""The multi-stage methods from the first stage to the last, on some small pictures."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_stages import ROOT, ForkedTool, files_of, quick_options, run_killed, write_pictures

import afa.engine.runner
import afa.labels.stages  # noqa: F401  so that forked tools need not import it
from afa.files.label_png import read_label_png
from afa.files.maps import read_maps
from afa.pipelines import load_pipeline, pipeline
from afa.pipelines.stage import last_checkpoint, read_record

AFFINITYNET = "affinitynet/pipeline_affinitynet_mit-b0_shapes.py"
SCCAM = "sccam/pipeline_sccam_mit-b0_shapes.py"
# Later rounds and stages are as those before and as AffinityNet's; all of them:
# AFA_ALL_STAGES=1 python -m pytest tests/test_pipelines/test_methods.py
ALL_STAGES = os.environ.get("AFA_ALL_STAGES") == "1"


@pytest.fixture(autouse=True, scope="module")
def _forked():
    """Run tools in forks of this process: a stage then takes a second and not ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "subprocess", SimpleNamespace(Popen=ForkedTool))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a Shapes set; pipelines beside one another share it."""
    folder = tmp_path_factory.mktemp("methods")
    write_pictures(folder / "shapes")
    return folder


def _pipeline(name, folder, work, num_processes=1, **options):
    options = {**quick_options(folder / "shapes"), **options}
    return load_pipeline(ROOT / "configs" / name, folder / work, options, num_processes)


@pytest.fixture(scope="module")
def affinitynet(folder):
    """AffinityNet's pipeline, run from the first stage to the last."""
    made = _pipeline(AFFINITYNET, folder, "affinitynet")
    made.run()
    return made


@pytest.fixture(scope="module")
def sccam(folder):
    """SC-CAM's pipeline, run up to the second clustering: the next rounds are as the first."""
    made = _pipeline(SCCAM, folder, "sccam")
    made.run(last=None if ALL_STAGES else "clusters_2")
    return made


def _results(made):
    """Give all that stages have made: files of labels and maps, weights, figures."""
    results = {}
    for stage in made.stages:
        if made.state(stage) != "finished":
            continue
        folder = made.folders[stage.name]
        weights = {}
        if stage.tool == "train.py":
            checkpoint = torch.load(last_checkpoint(folder), weights_only=False)
            weights = {
                key: value.numpy().tobytes() for key, value in checkpoint["state_dict"].items()
            }
        results[stage.name] = files_of(folder), weights, read_record(folder).figures
    return results


def test_affinitynet_from_photos_to_figures(affinitynet, folder, capfd):
    made = affinitynet
    records = {name: read_record(folder) for name, folder in made.folders.items()}
    assert all(record.state == "finished" for record in records.values())
    figures = {name: set(record.figures) for name, record in records.items()}
    for name in ("cams", "affinity_labels", "random_walk", "pseudo_labels"):
        assert "mIoU" in figures[name] and "IoU.background" in figures[name]
    assert {"cls/F1", "cam/mIoU"} <= figures["classifier"] and not figures["affinitynet"]
    assert "seg/mIoU" in figures["segmentation"] & figures["test"]
    assert {"seg/mIoU", "crf/mIoU"} <= figures["test_tta_crf"]
    assert json.loads((made.work_dir / "pipeline.json").read_text())["networks"] == [
        "classifier",
        "affinitynet",
        "segmentation",
    ]
    for path in (made.folders["cams"] / "maps").iterdir():  # present classes, no background
        cams = read_maps(path)
        label = read_label_png(made.folders["pseudo_labels"] / "labels" / f"{path.stem}.png")
        assert label.shape == cams.size
        assert set(np.unique(label)) <= {0, *cams.classes} and 0 not in cams.classes
        assert ((cams.maps >= 0) & (cams.maps <= 1)).all()
        assert len(np.unique(cams.maps)) > 2  # real values

    # Nothing is left to do; then what an option touches is made again, and the rest is not.
    before = {name: files_of(folder) for name, folder in made.folders.items()}
    made.run()
    assert {name: files_of(folder) for name, folder in made.folders.items()} == before
    again = _pipeline(AFFINITYNET, folder, "affinitynet", **{"affinitynet.train_cfg.max_iters": 1})
    states = [again.state(stage) for stage in again.stages]
    assert states == ["finished"] * 3 + ["changed"] * 6
    # A stage that was stopped half-way makes what is missing.
    out = made.folders["affinity_labels"]
    first = sorted((out / "labels").iterdir())[0]
    first.unlink()
    record = json.loads((out / "stage.json").read_text())
    (out / "stage.json").write_text(json.dumps(dict(record, state="stopped")))
    capfd.readouterr()
    made.run("affinity_labels", "affinity_labels")
    assert "5 are finished, 1 to make" in capfd.readouterr().out
    assert files_of(out) == before["affinity_labels"]


def test_sccam_clusters_and_trains_in_turn(sccam):
    made = sccam
    assert [made.state(stage) for stage in made.stages[:4]] == ["finished"] * 4
    subs = json.loads((made.folders["clusters_2"] / "sub_labels.json").read_text())
    assert len(subs) == 6 and all(0 <= sub < 3 for one in subs.values() for sub in one.values())
    command = json.loads((made.folders["clusters_2"] / "stage.json").read_text())["command"]
    assert str(made.folders["round_1"] / "iter_2.pth") in command


def _kill_in_stages(made, stages):
    """Kill a pipeline in the middle of stages, and start it again every time."""
    for name in stages:
        last = 2 if name in ("test", "test_tta_crf") else 4  # trainings: after a checkpoint
        assert run_killed(made, name, last), name
        states = [made.state(stage) for stage in made.stages]
        assert states.index("stopped") == states.count("finished") == list(made.folders).index(name)
        assert set(states) <= {"finished", "stopped", "new"}
    made.run(last=name)


def test_affinitynet_killed_in_every_stage_ends_with_the_files_of_one_run(affinitynet, folder):
    made = _pipeline(AFFINITYNET, folder, "affinitynet_killed")
    _kill_in_stages(made, made.folders)
    assert _results(made) == _results(affinitynet) and len(_results(made)) == 9


def test_sccam_killed_in_every_stage_ends_with_the_files_of_one_run(sccam, folder):
    made = _pipeline(SCCAM, folder, "sccam_killed")
    _kill_in_stages(made, made.folders if ALL_STAGES else ["clusters_1", "round_1", "clusters_2"])
    assert _results(made) == _results(sccam) and len(_results(made)) == (15 if ALL_STAGES else 4)


def test_two_processes_give_the_files_and_figures_of_one(affinitynet, folder):
    shutil.copytree(affinitynet.work_dir, folder / "two")  # the networks are trained
    made = _pipeline(AFFINITYNET, folder, "two", num_processes=2)
    tools = [stage.name for stage in made.stages if stage.tool != "train.py"]
    for name in tools:
        shutil.rmtree(made.folders[name])
    made.run()
    assert _results(made) == _results(affinitynet) and len(tools) == 6
    for name in tools:
        (path,) = [
            *made.folders[name].glob("summary.json"),
            *made.folders[name].glob("*/test.json"),
        ]
        assert json.loads(path.read_text())["num_processes"] == 2

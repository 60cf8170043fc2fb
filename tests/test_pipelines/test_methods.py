"""The multi-stage methods from the first stage to the last, on some small pictures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from toy_stages import ROOT, ForkedTool, files_of, quick_options, write_pictures

import afa.apis.random_walk_labels
import afa.engine.runner  # noqa: F401  so that forked tools need not import it
from afa.pipelines import load_pipeline, pipeline
from afa.utils.label_png import read_label_png
from afa.utils.maps_npz import read_maps


@pytest.fixture
def forked(monkeypatch):
    """Run tools in forks of this process: a stage then takes a second and not ten."""
    monkeypatch.setattr(pipeline, "subprocess", SimpleNamespace(Popen=ForkedTool))


def _pipeline(name, folder, **options):
    root = write_pictures(folder / "shapes")
    options = {**quick_options(root), **options}
    return load_pipeline(ROOT / "configs" / name, folder / "work", options)


@pytest.mark.usefixtures("forked")
def test_affinitynet_from_photos_to_figures(tmp_path, capfd):
    made = _pipeline("affinitynet/pipeline_affinitynet_mit-b0_shapes.py", tmp_path)
    records = dict(zip(made.folders, made.run(), strict=True))
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
    again = _pipeline(
        "affinitynet/pipeline_affinitynet_mit-b0_shapes.py",
        tmp_path,
        **{"affinitynet.train_cfg.max_iters": 1},
    )
    states = [again.state(stage) for stage in again.stages]
    assert states == ["finished"] * 3 + ["changed"] * 6
    # A stage that was stopped half-way makes what is missing.
    folder = made.folders["affinity_labels"]
    first = sorted((folder / "labels").iterdir())[0]
    first.unlink()
    record = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps(dict(record, state="stopped")))
    capfd.readouterr()
    made.run("affinity_labels", "affinity_labels")
    assert "5 are finished, 1 to make" in capfd.readouterr().out
    assert files_of(folder) == before["affinity_labels"]


@pytest.mark.usefixtures("forked")
def test_sccam_clusters_and_trains_in_turn(tmp_path):
    made = _pipeline("sccam/pipeline_sccam_mit-b0_shapes.py", tmp_path)
    made.run(last="clusters_2")  # the next rounds are as this one; then come AffinityNet's stages
    assert [made.state(stage) for stage in made.stages[:4]] == ["finished"] * 4
    subs = json.loads((made.folders["clusters_2"] / "sub_labels.json").read_text())
    assert len(subs) == 6 and all(0 <= sub < 3 for one in subs.values() for sub in one.values())
    command = json.loads((made.folders["clusters_2"] / "stage.json").read_text())["command"]
    assert str(made.folders["round_1"] / "iter_2.pth") in command

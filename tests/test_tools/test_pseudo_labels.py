import json
import runpy
import sys

import pytest
from toy_labels import write_toy, write_toy_data

from afa.datasets.prepare.export_labels import export_labels
from afa.datasets.shapes_generator import CLASSES
from afa.files.label_png import read_label_png


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return write_toy(folder, write_toy_data(folder / "shapes", 1, 1))


@pytest.fixture
def run(repo, monkeypatch):
    """Run the tool in this process, where the imports are there."""

    def _run(*args):
        monkeypatch.setattr(sys, "argv", ["pseudo_labels.py", *(str(arg) for arg in args)])
        runpy.run_path(str(repo / "tools/pseudo_labels.py"), run_name="__main__")

    return _run


def test_labels_figures_and_plot_from_the_command_line(run, toy, tmp_path, capsys):
    run(*toy, "--split", "train", "--kind", "par", "--evaluate", "--sweep", "0.2", "0.6", "0.2",
        "--save-maps", "--work-dir", tmp_path, "--device", "cpu")  # fmt: skip
    out = tmp_path / "pseudo_labels_par_train"
    assert sorted(path.name for path in out.iterdir()) == [
        "labels", "maps", "settings.json", "summary.json", "sweep", "sweep.png"
    ]  # fmt: skip
    assert read_label_png(out / "labels/train_00000.png").shape[0] > 30
    text = capsys.readouterr().out
    assert "True image labels WERE used" in text and "mIoU" in text
    assert "pseudo_labels.py" in (out / "summary.json").read_text()
    # An annotation tool gets them with the names of the classes.
    export_labels(out, toy[0].parent / "shapes/JPEGImages", tmp_path / "coco", "coco")
    content = json.loads((tmp_path / "coco/coco.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["train_00000.jpg"]
    names = [category["name"] for category in content["categories"]]
    assert names == list(CLASSES[1:])


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--kind", "cams"], "--kind must be one of cam, par, propagated, seg"),
        (["--kind", "cam", "--split", "nowhere.txt"], "'nowhere.txt', which is no file"),
        (["--kind", "cam", "--ignore-thr", "0.5"], "HIGH and a LOW"),
        (["--kind", "cam", "--device", "tpu"], "device"),
        (["--kind", "cam", "--cfg-options", "model.refinr=1"], "did you mean"),
    ],
)
def test_wrong_input_is_one_sentence(run, toy, tmp_path, capsys, args, text):
    with pytest.raises(SystemExit) as stop:
        run(*toy, "--split", "val", "--out", tmp_path / "out", *args)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_is_one_sentence(run, toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(toy[0], "nowhere.pth", "--split", "val", "--kind", "cam", "--out", tmp_path / "out")
    assert stop.value.code == 2 and "nowhere.pth" in capsys.readouterr().err

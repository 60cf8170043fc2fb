"""The notebook runs from top to bottom, with fewer iterations, and shows its pictures."""

import json

import matplotlib.pyplot as plt
import pytest

LENGTH = "iterations, labels_from = 360, 290"


@pytest.fixture(scope="module")
def cells(pytestconfig):
    notebook = json.loads((pytestconfig.rootpath / "docs/shapes.ipynb").read_text())
    return notebook["cells"]


@pytest.mark.slow
def test_every_cell_runs_and_pictures_come(cells, tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sum(LENGTH in code for code in source) == 1
    names = {"__name__": "__main__"}
    for code in source:
        code = code.replace(LENGTH, "iterations, labels_from = 72, 60").replace(
            "num_train=800", "num_train=16"
        )
        exec(compile(code, "shapes.ipynb", "exec"), names)
    plt.close("all")
    assert len(shown) == 2 and min(shown) >= 3
    assert "seg/mIoU" in capsys.readouterr().out
    assert (tmp_path / "work_dirs/notebook/report.html").is_file()


def test_its_pictures_are_those_of_a_whole_run(cells):
    outputs = [one for cell in cells for one in cell.get("outputs", ())]
    assert not [one for one in outputs if one["output_type"] == "error"]
    assert sum("image/png" in one.get("data", {}) for one in outputs) == 2

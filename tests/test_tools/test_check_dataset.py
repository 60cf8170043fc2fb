import json
import runpy
import sys

import cv2
import numpy as np
import pytest

from afa.files.label_png import write_label_png


@pytest.fixture
def own(tmp_path):
    """A folder of four photos and labels, fit for the config of one's own photos."""
    root = tmp_path / "own"
    (root / "masks").mkdir(parents=True)
    for number in range(4):
        cv2.imwrite(str(root / f"{number}.jpg"), np.full((20, 30, 3), 9, np.uint8))
    (root / "labels.csv").write_text(
        "photo,labels,split\n0.jpg,cat,train\n1.jpg,dog,train\n2.jpg,cat,val\n3.jpg,dog,val\n"
    )
    return root


@pytest.fixture
def check(repo, own, monkeypatch, capsys):
    """Run the tool in this process: importing mmseg anew takes many seconds."""

    def run(*args, config="configs/afa/afa_mit-b0_1xb4-4k_own-512x512.py", root=own):
        options = ["--cfg-options", f"data_root={root}"] if root else []
        argv = ["check_dataset.py", str(repo / config), *map(str, args), *options]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(repo / "tools" / "check_dataset.py"), run_name="__main__")
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def test_fit(check, tmp_path):
    status, out, _ = check("--json", tmp_path / "r.json")
    assert status == 0 and out.endswith("The data are fit.\n")
    assert "4/4 photos" in out and "train: 2 photos" in out and "| cat   |     1 |" in out
    assert json.loads((tmp_path / "r.json").read_text())["fit"] is True


def test_faults_are_one_line_each_and_the_status_is_1(check, own):
    (own / "0.jpg").write_bytes((own / "0.jpg").read_bytes()[:-20])
    (own / "1.jpg").unlink()
    (own / "labels.csv").write_text((own / "labels.csv").read_text() + "2.jpg,cat,val\n")
    write_label_png(own / "masks" / "3.png", np.full((20, 31), 9, np.uint8))
    status, out, _ = check("--workers", 0)
    assert status == 1
    listed = [line for line in out.splitlines() if line.startswith("  ")]
    for text in (
        "photo named twice: ",
        "missing photo: '1.jpg' is not in",
        "unreadable photo: Photo '",
        "mask size: The mask '",
        "mask value: The mask '",
    ):
        assert sum(line.startswith(f"  {text}") for line in listed) == 1
    assert "The data are not fit: 1 photo named twice, 1 missing photo" in out


def test_some_splits_only(check, own):
    (own / "0.jpg").unlink()
    status, out, _ = check("--splits", "val", "test")
    assert status == 0 and "val, test: 2 photos" in out and "train" not in out


def test_labels_that_say_nothing(check, own):
    (own / "labels.csv").write_text("a.jpg,cat\n")
    status, out, _ = check()
    assert status == 1 and "list or labels: The first line of '" in out


def test_arguments_are_checked_first(check, tmp_path):
    status, out, err = check("--json", tmp_path / "gone" / "r.json")
    assert status == 2 and "no folder for" in err and out == ""
    status, _, err = check("--workers", -1)
    assert status == 2 and "must be 0 or more, got -1" in err


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        (dict(config="configs/none.py"), "There is no config file"),
        (dict(root="/nowhere"), "there is no folder '/nowhere' (data_root)"),
        (
            dict(config="configs/_base_/default_runtime.py", root=None),
            "no data set for train, val, test",
        ),
    ],
)
def test_wrong_config(check, kwargs, text):
    status, out, err = check(**kwargs)
    assert status == 2 and text in err and "Traceback" not in err and out == ""

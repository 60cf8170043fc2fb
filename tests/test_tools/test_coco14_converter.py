"""The tool that prepares COCO 2014, as a user calls it."""

from functools import partial

import pytest
from toy_coco import content, write_annotations, write_coco


@pytest.fixture
def call(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "dataset_converters/coco14.py")


def test_prepares_then_finds_everything_there(call, tmp_path):
    write_coco(tmp_path)
    code, out, err = call(tmp_path)
    assert (code, err) == (0, "")
    assert "4/4 train images" in out and "1/1 val images" in out and "Ready in" in out
    table = [line.split() for line in out.splitlines()]
    assert ["1", "person", "3", "3", "1", "1"] in table
    assert ["80", "toothbrush", "2", "2", "0", "0"] in table
    assert "train: 4 images with objects (1 without are left out), 12 annotations" in out
    assert "4 label maps drawn, 0 were there already" in out
    code, out, _ = call(tmp_path, "--workers", "0")
    assert code == 0 and "0 label maps drawn, 4 were there already" in out


def test_options_reach_the_preparation(call, tmp_path):
    write_coco(tmp_path)
    out = tmp_path / "out"
    code, text, _ = call(tmp_path, "--splits", "val", "val", "--crowd", "ignore", "--out", out)
    assert code == 0 and "val: 1 images" in text and "train:" not in text
    assert '"crowd": "ignore"' in (out / "coco14.json").read_text()
    assert not (tmp_path / "coco14.json").exists()
    _, text, _ = call(tmp_path, "--splits", "val", "--crowd", "ignore", "--out", out, "--overwrite")
    assert "1 label maps drawn" in text


def test_a_fault_is_one_sentence(call, tmp_path):
    code, _, err = call(tmp_path)
    assert code == 2 and err.startswith("Error: There is no '") and "Traceback" not in err
    write_coco(tmp_path)
    made = content("train")
    made["images"][0]["file_name"] = "../../x.jpg"
    write_annotations(tmp_path, "train", made)
    code, _, err = call(tmp_path)
    assert code == 2 and err.startswith("Error: Malformed annotations") and "Traceback" not in err
    write_annotations(tmp_path, "train", dict(made, categories=made["categories"][1:]))
    assert call(tmp_path)[0] == 2


def test_a_stop_is_one_sentence(call, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    write_coco(tmp_path)
    monkeypatch.setattr("afa.datasets.prepare.coco14.write_split", stop)
    code, _, err = call(tmp_path)
    assert code == 130 and "Stopped" in err

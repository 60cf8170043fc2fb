"""The tools for annotations, in and out, as a user calls them."""

import json

import pytest
from toy_annotations import DOG, coco, write, write_annotations, write_photos

from afa.files.label_png import read_label_png, write_label_png


def test_annotations_in(run_main, tmp_path):
    write_annotations("cvat", tmp_path)
    code, out, err = run_main("dataset_converters/annotations.py", tmp_path)
    assert (code, err) == (0, "")
    assert "3/3 photos" in out and "CVAT for images (XML): 2 photos (train 2), 2 masks" in out
    table = [line.split() for line in out.splitlines()]
    assert ["cat", "1", "2"] in table and ["dog", "2", "2"] in table
    assert (tmp_path / "labels.csv").read_text() == "photo,labels\na b.jpg,cat;dog\nsub/c.png,dog\n"
    code, _, err = run_main("dataset_converters/annotations.py", tmp_path)
    assert code == 2 and err.startswith("Error: '") and "--overwrite" in err


def test_options_of_annotations(run_main, tmp_path):
    write_photos(tmp_path / "photos")
    made = coco()
    made["images"].append(dict(id=44, file_name="gone.jpg"))
    source = write(tmp_path / "x/any.json", made)
    args = (source, "--photos", tmp_path / "photos", "--form", "coco", "--leave-out", "cat")
    code, _, err = run_main("dataset_converters/annotations.py", *args)
    assert code == 2 and "Error: The photo 'gone.jpg' of the annotations is not in" in err
    assert not (tmp_path / "photos/labels.csv").exists()
    args = (*args, "--keep-empty", "--allow-partial", "--overwrite")
    code, out, err = run_main("dataset_converters/annotations.py", *args)
    assert code == 1 and "Left out:\nphoto: The photo 'gone.jpg'" in err and "3 masks" in out
    rows = (tmp_path / "photos/labels.csv").read_text().splitlines()
    assert rows == ["photo,labels", "a b.jpg,dog", "d.jpg,", "sub/c.png,dog"]
    assert not read_label_png(tmp_path / "photos/masks/d.png").any()


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio", "fiftyone"])
def test_labels_out(run_main, tmp_path, form):
    write_photos(tmp_path / "photos")
    (tmp_path / "labels").mkdir()
    write_label_png(tmp_path / "labels/d.png", DOG.astype("uint8"))
    args = [tmp_path / "labels", tmp_path / "photos", "--form", form, "--out", tmp_path / form]
    args += ["--classes", "dog", "--tolerance", "1", "--image-prefix", "s3://x/"]
    args += [] if form == "fiftyone" else ["--polygons"]
    code, out, err = run_main("dataset_converters/export_labels.py", *args)
    assert (code, err) == (0, "") and f"1 label maps in {tmp_path / form}" in out
    if form == "label-studio":
        (task,) = json.loads((tmp_path / form / "tasks.json").read_text())
        assert task["data"]["image"] == "s3://x/d.jpg"
        value = task["predictions"][0]["result"][0]["value"]
        assert value["points"] == [[50.0, 50.0], [50.0, 87.5], [90.0, 87.5], [90.0, 50.0]]
    code, _, err = run_main("dataset_converters/export_labels.py", *args)
    assert code == 2 and "is not empty: give another folder, or add --overwrite" in err
    assert run_main("dataset_converters/export_labels.py", *args, "--overwrite")[0] == 0

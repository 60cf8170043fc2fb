"""The command line; what it makes is tested beside afa/labels."""

import pytest
from toy_stages import AFFINITY_NET, files_of, run_tool, write_cams, write_pictures, write_stage

NAME = "random_walk.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config, checkpoint and folder of CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return *write_stage(folder, root, AFFINITY_NET), write_cams(folder / "cams", root)


def test_it_works_from_the_command_line(toy, tmp_path, capsys):
    args = ["--alpha", 4, "--sweep", 2, 8, "--device", "cpu"]
    assert run_tool(NAME, *toy, "--split", "val", "--work-dir", tmp_path, *args) == 0
    out = tmp_path / "random_walk_val"
    assert sorted(path.name for path in out.iterdir()) == [
        "labels", "settings.json", "summary.json", "sweep", "sweep.png"
    ]  # fmt: skip
    assert NAME in (out / "summary.json").read_text()
    assert "Done in" in capsys.readouterr().out


def test_the_maps_of_one_call_serve_the_next(toy, tmp_path):
    call = (*toy, "--split", "val", "--device", "cpu")
    assert run_tool(NAME, *call, "--out", tmp_path / "walk", "--save-maps") == 0
    assert run_tool(NAME, *call, "--out", tmp_path / "a", "--walked", tmp_path / "walk") == 0
    walked = files_of(tmp_path / "walk")
    labels = {name: walked[name] for name in walked if name.startswith("labels/")}
    assert len(walked) == 8 and files_of(tmp_path / "a") == labels


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--alpha", "0"], "above 0, got 0"),
        (["--sweep", "4", "4"], "names an alpha twice"),
        (["--device", "tpu"], "device"),
        (["--crf-workers", "-1"], "0 or more"),
        (["--cfg-options", "model.num_stps=1"], "did you mean"),
        (["--walked", "nowhere"], "tools/random_walk.py --save-maps makes them"),
    ],
)
def test_wrong_input_is_one_sentence(toy, tmp_path, capsys, args, text):
    assert run_tool(NAME, *toy, "--split", "val", "--out", tmp_path / "out", *args) == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()

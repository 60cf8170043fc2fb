"""The command line; what it makes is tested beside afa/labels."""

import pytest
from toy_stages import CLASSIFIER, run_tool, write_pictures, write_stage

NAME = "sub_categories.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and checkpoint of a classifier."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return write_stage(folder, root, CLASSIFIER)


def test_it_works_from_the_command_line(toy, tmp_path, capsys):
    args = ["--num-sub", 2, "--seed", 1, "--device", "cpu"]
    assert run_tool(NAME, *toy, "--split", "val", "--work-dir", tmp_path, *args) == 0
    out = tmp_path / "sub_categories_val"
    assert sorted(path.name for path in out.iterdir()) == [
        "features", "settings.json", "sub_labels.json", "summary.json"
    ]  # fmt: skip
    assert NAME in (out / "summary.json").read_text()
    assert "Done in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--num-sub", "0"], "--num-sub must be 1 or more"),
        (["--seed", "-1"], "--seed must be between"),
        (["--split", "nowhere.txt"], "'nowhere.txt', which is no file"),
    ],
)
def test_wrong_input_is_one_sentence(toy, tmp_path, capsys, args, text):
    assert run_tool(NAME, *toy, "--split", "val", "--out", tmp_path / "out", *args) == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()

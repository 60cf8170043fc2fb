"""The command line; what it makes is tested beside afa/labels."""

import pytest
from toy_stages import AFFINITY_NET, run_tool, write_cams, write_pictures, write_stage

NAME = "affinity_labels.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and folder of CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return write_stage(folder, root, AFFINITY_NET)[0], write_cams(folder / "cams", root)


def test_it_works_from_the_command_line(toy, tmp_path, capsys):
    args = ["--alphas", 2, 6, "--evaluate", "--crf-settings", "num_iters=1", "--crf-workers", 0]
    assert run_tool(NAME, *toy, "--split", "val", "--work-dir", tmp_path, *args) == 0
    out = tmp_path / "affinity_labels_val"
    assert sorted(path.name for path in out.iterdir()) == [
        "labels",
        "settings.json",
        "summary.json",
    ]
    assert NAME in (out / "summary.json").read_text()
    assert "Done in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--alphas", "6", "2"], "LOW and HIGH, got 6 and 2"),
        (["--crf-settings", "iters"], "--crf-settings wants KEY=VALUE, got 'iters'"),
        (["--no-crf", "--crf-settings", "num_iters=1"], "add --crf"),
        (["--cfg-options", "val_dataloader.dataset.data_root=nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_one_sentence(toy, tmp_path, capsys, args, text):
    assert run_tool(NAME, *toy, "--split", "val", "--out", tmp_path / "out", *args) == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()

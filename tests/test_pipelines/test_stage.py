import json

import pytest

from afa.files.whole_file import read_json_lines
from afa.pipelines import Stage
from afa.pipelines.stage import Record, read_figures, read_record


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(name="a b"), "name of a stage has letters"),
        (dict(tool="none.py"), "there is no tool 'tools/none.py'"),
        (dict(config="none.py"), "there is no config file 'none.py'"),
    ],
)
def test_wrong_stages(root, change, text):
    with pytest.raises(ValueError, match=text):
        Stage(**{**dict(name="one", tool="add.py", config="cfg.py"), **change})


def test_training_stages_resume_and_their_checkpoint_is_found(root, tmp_path):
    (root / "tools/train.py").write_text("")
    train = Stage("net", "train.py", "cfg.py")
    folder = tmp_path / "01_net"
    folder.mkdir()
    command = train.command(folder, {}, resume=True)
    assert command[-3:] == ["--work-dir", str(folder), "--resume"]
    use = Stage("use", "add.py", "cfg.py", checkpoint="{net.checkpoint}")
    with pytest.raises(ValueError, match="no checkpoint in"):
        use.command(tmp_path / "02_use", {"net": folder})
    (folder / "iter_3.pth").write_text("")
    (folder / "last_checkpoint").write_text("/gone/iter_3.pth")  # the folder has been moved
    assert str(folder / "iter_3.pth") in use.command(tmp_path / "02_use", {"net": folder})


def test_fingerprint_knows_what_a_stage_reads(root):
    def print_of(earlier, **change):
        stage = Stage("two", **{**dict(tool="add.py", config="cfg.py", args=["{one}"]), **change})
        return stage.fingerprint(dict(one=earlier, other="z"))

    assert print_of("a") == print_of("a")
    changes = [print_of("a"), print_of("b"), print_of("a", options={"x": 1})]
    changes.append(print_of("a", args=["{one}", "more"]))
    assert len(set(changes)) == 4


def test_figures_of_a_training_are_those_of_its_last_validation(tmp_path):
    data = tmp_path / "20260101_000000/vis_data"
    data.mkdir(parents=True)
    lines = [{"loss": 1.0, "step": 1}, {"seg/mIoU": 5.0}, {"loss": 0.5}, {"seg/mIoU": 7.0}]
    (data / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    assert read_figures(tmp_path) == {"seg/mIoU": 7.0}


def test_a_broken_record_is_one_sentence(tmp_path):
    (tmp_path / "stage.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the record of a stage"):
        read_record(tmp_path)
    Record("print", ["x"], state="odd").write(tmp_path)
    with pytest.raises(ValueError, match="unknown state 'odd'"):
        read_record(tmp_path)


def test_scalars_of_a_killed_training(tmp_path):
    path = tmp_path / "scalars.json"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_json_lines(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n[2]\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"scalars\.json' is broken in line 2"):
        read_json_lines(path)

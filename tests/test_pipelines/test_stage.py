import pytest

from afa.pipelines import Stage


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

import pytest

from afa.engine.config.load import load_config, read_config_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "my_config.py"
    path.write_text(
        "data_root = 'a'\nmax_iters = 5\ntrain_cfg = dict(max_iters=max_iters)\n"
        "train_dataloader = dict(dataset=dict(data_root=data_root))\n"
        "val_dataloader = dict(dataset=dict(datasets=[dict(data_root=data_root)]))\n"
    )
    return str(path)


def test_work_dir_comes_from_the_call_or_the_config_or_its_name(path, tmp_path):
    assert load_config(path).work_dir == "work_dirs/my_config"
    assert load_config(path, work_dir="w").work_dir == "w"
    assert load_config(path, options={"work_dir": "v"}).work_dir == "v"


def test_options_are_put_over_the_file(path):
    assert load_config(path, options={"train_cfg.max_iters": 7}).train_cfg.max_iters == 7


def test_option_without_effect_is_refused_with_what_to_set(path):
    with pytest.raises(ValueError, match=r"cannot change 'max_iters'.*Set train_cfg\.max_iters"):
        load_config(path, options={"max_iters": 7})


def test_data_root_as_an_option_reaches_every_loader(path):
    cfg = load_config(path, options={"data_root": "b"})
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == "b"
    assert cfg.val_dataloader.dataset.datasets[0].data_root == "b"


def test_data_root_of_a_loader_as_an_option_is_no_mismatch(path):
    cfg = load_config(path, options={"train_dataloader.dataset.data_root": "c"})
    assert cfg.data_root == "c"


def test_a_step_of_a_loaders_pipeline_as_an_option_is_no_override(tmp_path):
    path = tmp_path / "pipelines.py"
    path.write_text(
        "train_pipeline = [dict(type='A', size=1)]\ntest_pipeline = [dict(type='B', size=1)]\n"
        "unused_pipeline = [dict(type='C')]\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n"
        "val_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n"
        "test_dataloader = val_dataloader\n"
    )
    options = {
        "train_dataloader.dataset.pipeline.0.size": 5,
        "test_dataloader.dataset.pipeline.0.size": 6,
    }
    cfg = load_config(str(path), options=options)
    assert cfg.train_dataloader.dataset.pipeline[0].size == 5
    assert "train_pipeline" not in cfg  # no loader has it any more: nothing to compare with
    assert cfg.test_pipeline[0].size == 1  # the validation still has it
    assert "unused_pipeline" in cfg  # a mistake in the file is still found


def test_missing_and_unsafe_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config file 'nope\.py'"):
        load_config("nope.py")
    path = tmp_path / "a.yaml"
    path.write_text("x: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match="must be a Python file"):
        load_config(str(path))


def test_option_below_a_value_without_entries_is_one_sentence(tmp_path):
    (tmp_path / "c.py").write_text("val_dataloader = None\n")
    with pytest.raises(ValueError, match=r"val_dataloader.num_workers=1 does not fit the config"):
        load_config(str(tmp_path / "c.py"), options={"val_dataloader.num_workers": 1})


@pytest.mark.parametrize("key", ["hooks.7.type", "hooks.a", "train_cfg.max_iters.x"])
def test_option_for_a_place_that_is_not_there_is_named(tmp_path, key):
    (tmp_path / "c.py").write_text("hooks = [dict(type='A')]\ntrain_cfg = dict(max_iters=1)\n")
    with pytest.raises(ValueError, match=rf"^--cfg-options {key}=1 does not fit the config"):
        load_config(str(tmp_path / "c.py"), options={key: 1})


def test_data_root_that_nothing_uses_is_refused(tmp_path):
    path = tmp_path / "c.py"
    path.write_text("train_dataloader = dict(dataset=dict(data_root='a'))\n")
    with pytest.raises(ValueError, match=r"data_root=b has no effect.*Set train_dataloader"):
        load_config(str(path), options={"data_root": "b"})
    path.write_text("data_root = 'c'\n" + path.read_text())
    with pytest.raises(ValueError, match="data_root=b has no effect"):
        load_config(str(path), options={"data_root": "b"})


def _reason(path):
    with pytest.raises(ValueError, match="cannot be used: ") as error:
        read_config_file(path)
    return str(error.value)


def test_a_config_and_its_base_are_run(tmp_path):
    (tmp_path / "base.py").write_text("a = 1\n")
    (tmp_path / "c.py").write_text("_base_ = 'base.py'\nb = 2\n")
    assert read_config_file(tmp_path / "c.py").to_dict() == dict(a=1, b=2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1\nb = dict(\n", "it is no valid Python, line 2: '(' was never closed; mend it."),
        ("a = 1\nb = c\n", "line 2: NameError: name 'c' is not defined; mend it."),
        ("a = {}['x']\n", "line 1: KeyError: x; mend it."),
        ("_base_ = 'no.py'\n", "no.py"),
        (
            "custom_imports = dict(imports=['afa.modles'])\n",
            "ImportError: Failed to import afa.mod",
        ),
    ],
)
def test_what_fails_is_told_with_its_line(tmp_path, text, reason):
    (tmp_path / "c.py").write_text(text)
    said = _reason(tmp_path / "c.py")
    assert said.startswith(f"The config '{tmp_path / 'c.py'}' cannot be used: ")
    assert reason in said and "\n" not in said


def test_a_slip_in_a_base_names_the_base(tmp_path):
    (tmp_path / "base.py").write_text("\nx = y\n")
    (tmp_path / "c.py").write_text("_base_ = 'base.py'\n")
    assert f"in '{tmp_path / 'base.py'}', line 2: NameError" in _reason(tmp_path / "c.py")
    (tmp_path / "base.py").write_text("\nx = (\n")
    assert f"in '{tmp_path / 'base.py'}', line 2: '(' was" in _reason(tmp_path / "c.py")


def test_a_file_of_bytes_is_no_config(tmp_path):
    (tmp_path / "c.py").write_bytes(bytes(range(256)))
    assert str(tmp_path / "c.py") in _reason(tmp_path / "c.py")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no config file"):
        read_config_file(tmp_path)
    (tmp_path / "c.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match=r"must be a Python file \(\.py\)"):
        read_config_file(tmp_path / "c.yaml")

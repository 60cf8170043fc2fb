import pytest

from afa.engine.config.load import read_config_file


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

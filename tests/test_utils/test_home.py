import shlex
import sys

import pytest

from afa.utils import home
from afa.utils.cli import own_command_line
from afa.utils.home import config_names, config_path, find_tools, is_config, run_text

RECIPE = "afa_mit-b1_2xb2-20k_voc12aug-512x512"


def test_every_tool_has_a_command_and_those_of_every_day_come_first(repo):
    tools = find_tools()
    assert list(tools)[:3] == ["train", "test", "predict"]
    assert tools["pseudo-labels"] == repo / "tools/pseudo_labels.py"
    assert tools["check"].name == "check_dataset.py" and tools["voc12"].name == "voc12.py"
    files = {path for path in repo.glob("tools/**/*.py") if path.parent.name != "benchmarks"}
    assert set(tools.values()) == files - set(repo.glob("tools/dev/*.py"))


def test_configs_are_listed_without_their_bases():
    names = config_names()
    assert f"afa/{RECIPE}" in names and names == sorted(names)
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("form", ["{}", "{}.py", "afa/{}", "afa/{}.py", "configs/afa/{}.py"])
def test_a_config_is_found_by_name_from_any_folder(form, repo, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config_path(form.format(RECIPE)) == repo / f"configs/afa/{RECIPE}.py"
    assert is_config(form.format(RECIPE))


def test_a_file_goes_before_a_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / f"{RECIPE}.py"
    own.touch()
    assert config_path(own.name).resolve() == own
    (tmp_path / RECIPE).touch()  # a checkpoint by that name
    assert not is_config(RECIPE) and not is_config("iter_20.pth")


def test_an_unknown_config_is_a_sentence_with_similar_names():
    with pytest.raises(FileNotFoundError, match=rf"no config file 'afa_mit-b1_voc'.*{RECIPE}"):
        config_path("afa_mit-b1_voc")
    with pytest.raises(FileNotFoundError, match=r"nowhere.*print_config.py` lists them") as error:
        config_path("nowhere")
    assert "Similar" not in str(error.value)


def test_commands_are_those_that_one_types_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert run_text("check", "a b") == ".venv/bin/python tools/check_dataset.py 'a b'"
    monkeypatch.setattr(sys, "executable", "/elsewhere/python")
    assert run_text("test").startswith("/elsewhere/python tools/")
    monkeypatch.setattr(home, "IN_WHEEL", True)
    assert run_text("check", "a b") == "afa check 'a b'"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["tools/demo.py", "--out", "a b"], "python tools/demo.py --out 'a b'"),
        (["afa demo", "--out", "a b"], "afa demo --out 'a b'"),
    ],
)
def test_own_command_line_can_be_typed_again(argv, text, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert own_command_line() == text and shlex.split(text)[-1] == "a b"

"""The command `afa`, in this checkout and from a wheel in a folder with nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

import afa
from afa.__main__ import main
from afa.utils.home import find_tools

TRAIN = "afa_mit-b0_1xb8-820it_shapes-96x96"


def test_without_a_command_all_are_listed(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"\n  {name} " in said for name in find_tools())
    assert "Write pseudo labels\n" in said


def test_an_unknown_command_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["trian"])
    assert stop.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"afa {afa.__version__}\n"


def test_a_tool_gets_its_arguments_and_its_errors_are_sentences(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["afa", "config", "afa_dinov2-s", "--cfg-options", "a"])
    main()
    assert capsys.readouterr().out.splitlines()[0].startswith("afa/afa_dinov2-s_2xb2")
    monkeypatch.setattr(sys, "argv", ["afa", "config", "nowhere"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "Error: There is no config file 'nowhere'" in capsys.readouterr().err


def _completions(line, folder):
    """Ask as a shell does: the answer comes through descriptor 8."""
    asked = f"{sys.executable} -m afa 8>answer"
    # With `python -m afa` the first three words are the program; the line has one.
    env = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    env |= {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash"}
    subprocess.run(asked, shell=True, cwd=folder, env=env, timeout=60, check=False)
    return (folder / "answer").read_text().split()


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("afa pre", ["predict"]),
        ("afa predict --op", ["--opacity"]),
        ("afa train --launcher ", ["none", "pytorch", "slurm", "mpi"]),
        ("afa train afa/afa_dinov2-s_2xb2", ["afa/afa_dinov2-s_2xb2-20k_voc12aug-448x448"]),
        ("afa train my_", ["my_config.py"]),
    ],
)
def test_the_shell_completes_commands_options_and_configs(line, some, tmp_path, repo, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repo))
    (tmp_path / "my_config.py").touch()
    assert _completions(line, tmp_path) == some


@pytest.fixture(scope="module")
def wheel(pytestconfig, tmp_path_factory):
    """Build a wheel of this checkout and unpack it, as pip installs it."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    root, source = pytestconfig.rootpath, out / "source"  # a build leaves folders where it runs
    for name in ("afa", "configs", "tools"):
        shutil.copytree(root / name, source / name)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    subprocess.run([*command, "-q", "-w", str(out), str(source)], check=True, timeout=300)
    (file,) = out.glob("afa-*.whl")
    zipfile.ZipFile(file).extractall(out / "site")
    return file, out / "site"


def test_a_wheel_has_all_that_a_user_needs_and_is_small(wheel, repo):
    file, site = wheel
    inside = {path.relative_to(site).as_posix() for path in site.rglob("*.py")}
    mim = {f"afa/.mim/{path.relative_to(repo).as_posix()}" for path in find_tools().values()}
    configs = {f"afa/.mim/{p.relative_to(repo).as_posix()}" for p in repo.glob("configs/**/*.py")}
    assert mim | configs <= inside
    assert (site / "afa/apis/web/page.html").is_file()
    assert not [name for name in inside if "benchmarks" in name or name.startswith("test")]
    assert file.stat().st_size < 2**20


def test_from_a_wheel_one_makes_data_trains_and_predicts(wheel, tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "afa", *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    env = {**os.environ, "PYTHONPATH": str(wheel[1])}
    run("shapes", "data/shapes", "--num-train", "8", "--num-val", "2")
    options = ["train_cfg.max_iters=3", "train_cfg.val_interval=3"]
    options += ["custom_hooks.0.phases.pseudo=1", "custom_hooks.0.phases.propagated=2"]
    said = run("train", TRAIN, "--work-dir", "run", "--cfg-options", *options)
    assert "To use it on photos: afa predict " in said
    assert "Predicted 2 photos" in run("predict", "run/iter_3.pth", "data/shapes/JPEGImages/val*")

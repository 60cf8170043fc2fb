import subprocess
import sys

import pytest

import afa
from afa.utils import environment


@pytest.fixture
def installed(monkeypatch):
    """A made-up environment: name to version."""
    packages = {name: "1.0" for name in (*environment._REQUIRED, *environment._FAMILY)}
    monkeypatch.setattr(environment, "_version", packages.get)
    return packages


def test_the_environment_of_the_tests_is_right():
    environment.check_environment()


def test_both_lines_together_are_refused(installed):
    installed["mmcv"] = "2.1.0"
    with pytest.raises(environment.EnvironmentConflictError, match="overwrite each other") as error:
        environment.check_environment()
    assert "mmcv and onedl-mmengine" in str(error.value)
    assert "pip uninstall mmcv onedl-mmengine" in str(error.value)


def test_missing_packages_are_named(installed):
    del installed["onedl-mmcv"]
    with pytest.raises(environment.EnvironmentConflictError, match="onedl-mmcv is not installed"):
        environment.check_environment()
    del installed["torch"]
    with pytest.raises(environment.EnvironmentConflictError, match="torch, onedl-mmcv are not"):
        environment.check_environment()


def test_another_build_of_opencv_will_do(installed):
    del installed["opencv-python"]
    installed["opencv-python-headless"] = "5.0"
    environment.check_environment()


def test_collect_versions():
    versions = environment.collect_versions()
    assert versions["afa"] == afa.__version__
    assert {"python", "torch", "numpy", "onedl-mmengine"} <= set(versions)
    assert all(isinstance(version, str) for version in versions.values())


def test_versions_without_git(monkeypatch):
    def no_git(*args, **kwargs):
        raise OSError("no git")

    monkeypatch.setattr(environment.subprocess, "run", no_git)
    assert "git" not in environment.collect_versions()


def test_device_is_named():
    assert environment.device_name() == "CPU (1 thread)"


def test_import_of_afa_is_quiet_and_imports_nothing_heavy(repo):
    heavy = {"cv2", "matplotlib", "mmcv", "mmengine", "mmseg", "numpy", "torch"}
    code = f"import afa, sys; found = {heavy} & set(sys.modules); assert not found, found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_of_mmseg_is_quiet(repo):
    code = "from afa.utils.environment import import_mmseg_quietly as q; q(); q()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_output_is_passed_on(monkeypatch, capsys):
    def talk(name):
        print("Could not import OneDL")
        print(f"hello from {name}")

    environment.import_mmseg_quietly.cache_clear()
    monkeypatch.setattr(environment.importlib, "import_module", talk)
    environment.import_mmseg_quietly()
    said = capsys.readouterr().out
    assert "hello from mmseg.models" in said and "OneDL" not in said

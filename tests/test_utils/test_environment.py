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

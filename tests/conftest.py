import os
import random
import runpy
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not os.environ.get("AFA_TEST_DEVICE", "").startswith("cuda"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests are for CPU, also where there is a GPU

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from afa.utils.environment import import_mmseg_quietly

sys.path.insert(0, str(Path(__file__).parent))  # for toy_run
# Processes that a test starts import its module by the name that pytest gives it: tests.test_x.
sys.path.append(str(Path(__file__).parent.parent))
torch.set_num_threads(1)
import_mmseg_quietly()
init_default_scope("mmseg")  # as every run has it
MMLogger.get_current_instance()  # made inside a test, it would write to what that test captures


@pytest.fixture(autouse=True)
def _seed():
    """Every test draws the same numbers, alone or among the others."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def repo():
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def alone(monkeypatch):
    """Tools run as one process that no launcher has started."""
    for name in ("RANK", "AFA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")


@pytest.fixture
def run_main(alone, repo, monkeypatch, capsys):
    """Run a tool in this process, where the imports are: status, stdout, stderr."""

    def call(name, *args):
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        status = 0
        try:
            runpy.run_path(str(repo / "tools" / name), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return call


@pytest.fixture
def toy_cfg(tmp_path):
    """A config of a run on a toy model, 6 iterations, with tmp_path/work as its work dir."""
    from toy_run import make_cfg

    return make_cfg(tmp_path / "work")


@pytest.fixture(scope="session")
def world_template(tmp_path_factory):
    """Data, configs and weights of the tests that do wrong things; not to be changed."""
    from toy_faults import write_world

    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture
def world(world_template, alone, tmp_path, monkeypatch):
    """A copy of data, configs and weights, as the current folder."""
    shutil.copytree(world_template, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    return tmp_path / "world"

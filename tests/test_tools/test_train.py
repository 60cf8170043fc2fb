import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from toy_run import write_cfg


def _run(repo, *args, env=None):
    paths = os.pathsep.join([str(repo), str(repo / "tests")])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **(env or {})}
    command = [str(arg) for arg in args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


def _train(repo, *args, **kwargs):
    return _run(repo, sys.executable, repo / "tools/train.py", *args, **kwargs)


def test_train_then_resume_then_test(repo, tmp_path):
    path = write_cfg(tmp_path)
    done = _train(repo, path, "--amp", "--cfg-options", "train_cfg.max_iters=3")
    assert done.returncode == 0, done.stderr
    assert "OneDL" not in done.stdout and "MultiScale" not in done.stderr
    work = tmp_path / "work"
    assert (work / "iter_3.pth").is_file()
    done = _train(repo, path, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resumed epoch: 0, iter: 3" in done.stdout
    assert (work / "iter_6.pth").is_file()
    out = tmp_path / "out.json"
    tool = repo / "tools/test.py"
    args = [sys.executable, tool, path, work / "iter_6.pth"]
    done = _run(repo, *args, "--work-dir", tmp_path / "test", "--out-json", out)
    assert done.returncode == 0, done.stderr
    assert "toy/accuracy" in out.read_text()
    # Last: the same checkpoint does not fit a wider head.
    done = _run(repo, *args, "--cfg-options", "model.toy_head.num_classes=5")
    assert done.returncode == 2 and "num_classes is 5" in done.stderr
    done = _run(repo, *args[:-1], _other_checkpoint(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Checkpoint") and "Traceback" not in done.stderr


def _other_checkpoint(tmp_path):
    import torch

    path = tmp_path / "other.pth"
    torch.save({"backbone.weight": torch.zeros(1)}, path)
    return path


def test_two_processes_on_cpu(repo, tmp_path):
    path = write_cfg(tmp_path)
    env = dict(PORT="29671", PYTHON=sys.executable)
    done = _run(repo, "bash", repo / "tools/dist_train.sh", path, "2", env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "work/iter_6.pth").is_file()
    assert "toy/accuracy" in done.stdout


@pytest.mark.parametrize("name", ["dist_train", "dist_test"])
def test_a_port_that_is_taken_is_one_sentence(repo, name):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        script = repo / "tools" / f"{name}.sh"
        done = _run(repo, "bash", script, "c.py", "2", "2", env=dict(PORT=port))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"Error: port {port} is taken, perhaps by another run: choose")


@pytest.mark.parametrize("name", ["dist_train", "dist_test", "slurm_train", "slurm_test"])
def test_scripts_are_executable_and_say_their_usage(repo, name):
    script = repo / "tools" / f"{name}.sh"
    assert os.access(script, os.X_OK)
    done = _run(repo, "bash", script)
    assert done.returncode != 0 and f"usage: tools/{name}.sh" in done.stderr


def test_slurm_script_passes_its_arguments_to_srun(repo, tmp_path):
    srun = tmp_path / "srun"
    srun.write_text('#!/usr/bin/env bash\necho "$@"\n')
    srun.chmod(0o755)
    env = dict(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", GPUS="8", PYTHON="python")
    script = Path(repo) / "tools/slurm_test.sh"
    done = _run(repo, "bash", script, "part", "job", "c.py", "c.pth", "--tta", env=env)
    assert done.stdout.startswith("-p part --job-name=job --gres=gpu:4 --ntasks=8")
    assert done.stdout.strip().endswith("test.py c.py c.pth --launcher slurm --tta")

import socket

import pytest
import torch
import torch.distributed as torch_dist
from mmengine import dist as mmengine_dist

from afa.engine import dist
from afa.engine.dist import LostProcessError, saying_what_was_lost


@pytest.fixture
def started(monkeypatch):
    """Catch the arguments of the process group; keep os.environ as it was."""
    calls = []
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # put back after the test
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch_dist, "init_process_group", lambda **kwargs: calls.append(kwargs))
    return calls


def _environment():
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return [dist.os.environ[name] for name in names]


def test_none_starts_nothing(started):
    dist.init_dist("none")
    assert started == []


def test_unknown_launcher(started):
    with pytest.raises(ValueError, match="must be one of none, pytorch, slurm, mpi, got 'ssh'"):
        dist.init_dist("ssh")


def test_slurm_variables_are_translated(started, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("SLURM_NODELIST", "node[1-2]")
    monkeypatch.setattr(dist.subprocess, "check_output", lambda *a, **k: "node1\nnode2\n")
    dist.init_dist("slurm", timeout=7)
    assert _environment() == ["3", "8", "1", "node1", "29500"]
    assert started[0]["device_id"] is None
    assert started[0]["backend"] == "gloo" and started[0]["timeout"].total_seconds() == 7


def test_mpi_variables_are_translated(started, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0")
    dist.init_dist("mpi")
    assert _environment() == ["1", "2", "0", "127.0.0.1", "29500"]


def test_gpus_use_nccl_and_each_process_its_own(started, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    dist.init_dist("pytorch")
    own = torch.device("cuda", 1)
    assert chosen == [own] and started[0]["backend"] == "nccl" and started[0]["device_id"] == own
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"Process 2 of this machine has no GPU.*2 GPUs"):
        dist.init_dist("pytorch")


def test_processes_that_cannot_meet(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(ValueError, match=rf"Port {port} of 127\.0\.0\.1 is taken by another"):
            dist.init_dist("pytorch")

    def unreachable(**kwargs):
        raise torch.distributed.DistNetworkError("The client socket has timed out\nmore")

    monkeypatch.setattr(dist.torch_dist, "init_process_group", unreachable)
    with pytest.raises(ValueError, match=r"cannot be reached \(The client socket has timed out\)"):
        dist.init_dist("pytorch")


GLOO = "[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4831"


def test_a_broken_connection_is_a_sentence(monkeypatch):
    monkeypatch.setattr(mmengine_dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(mmengine_dist, "get_rank", lambda: 1)
    text = "Process 1 ends because another process"
    with pytest.raises(LostProcessError, match=text), saying_what_was_lost():
        raise RuntimeError(GLOO)
    assert LostProcessError.exit_status == 1


def test_other_errors_and_single_processes_keep_theirs(monkeypatch):
    with pytest.raises(RuntimeError, match="gloo"), saying_what_was_lost():
        raise RuntimeError(GLOO)
    monkeypatch.setattr(mmengine_dist, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="shape mismatch"), saying_what_was_lost():
        raise RuntimeError("shape mismatch")

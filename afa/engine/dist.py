"""Several processes: their group, nccl on GPUs and gloo on CPU, and the end of another one."""

import datetime
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as torch_dist
from mmengine import dist

_NEEDED = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
_STARTER = {"pytorch": "torchrun (tools/dist_train.sh)", "slurm": "srun", "mpi": "mpirun"}


def _set_rank_variables(launcher: str) -> None:
    """Translate the launcher's variables to those of torch.distributed."""
    missing = [name for name in _NEEDED[launcher] if name not in os.environ]
    if missing:
        raise ValueError(
            f"--launcher {launcher} needs the environment variables {', '.join(missing)}: start "
            f"the tool with {_STARTER[launcher]}, or use --launcher none."
        )
    env = os.environ
    if launcher == "slurm":
        env["RANK"], env["WORLD_SIZE"] = env["SLURM_PROCID"], env["SLURM_NTASKS"]
        env["LOCAL_RANK"] = env.get("SLURM_LOCALID", "0")
        if "MASTER_ADDR" not in env:
            hosts = subprocess.check_output(
                ["scontrol", "show", "hostnames", env["SLURM_NODELIST"]], text=True
            )
            env["MASTER_ADDR"] = hosts.split()[0]
    elif launcher == "mpi":
        env["RANK"], env["WORLD_SIZE"] = env["OMPI_COMM_WORLD_RANK"], env["OMPI_COMM_WORLD_SIZE"]
        env["LOCAL_RANK"] = env["OMPI_COMM_WORLD_LOCAL_RANK"]
        env.setdefault("MASTER_ADDR", "127.0.0.1")
    env.setdefault("MASTER_PORT", "29500")


def init_dist(launcher: str, timeout: int = 1800) -> None:
    """Start the process group, if the launcher asks for one and none runs yet.

    Must come before mmengine's Runner, whose own start needs a GPU.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        timeout: Seconds after which a process that hears nothing of the others gives up.

    Raises:
        ValueError: If the launcher is unknown, was not used to start this process, starts more
            processes on this machine than it has GPUs, or the processes cannot meet (a port that
            is taken).
    """
    if launcher == "none" or torch_dist.is_initialized():
        return
    if launcher not in _NEEDED:
        raise ValueError(f"launcher must be one of none, {', '.join(_NEEDED)}, got '{launcher}'.")
    _set_rank_variables(launcher)
    use_cuda, device = torch.cuda.is_available(), None
    if use_cuda:
        local_rank, num_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= num_gpus:
            raise ValueError(
                f"Process {local_rank} of this machine has no GPU of its own ({num_gpus} GPUs): "
                "start fewer processes, or set CUDA_VISIBLE_DEVICES='' to run on CPU."
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    try:
        torch_dist.init_process_group(
            backend="nccl" if use_cuda else "gloo",
            timeout=datetime.timedelta(seconds=timeout),
            device_id=device,
        )
    except (torch_dist.DistError, OSError) as error:
        address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
        taken = "address already in use" in str(error).lower() or "EADDRINUSE" in str(error)
        reason = (
            "is taken by another program, perhaps another run: choose another one with "
            "MASTER_PORT=..., or PORT=... before tools/dist_train.sh"
            if taken
            else f"cannot be reached ({str(error).splitlines()[0]}): check MASTER_ADDR and "
            "MASTER_PORT, and that all processes have been started"
        )
        raise ValueError(f"Port {port} of {address} {reason}.") from error


# What gloo, nccl and torch's store say when the other end of a connection has gone.
_GONE = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|[Gg]loo|NCCL|TCPStore|Socket Timeout|Timed out"
)


class LostProcessError(RuntimeError):
    """Another process of the run has ended."""

    exit_status = 1


@contextmanager
def saying_what_was_lost() -> Iterator[None]:
    """Turn the error of a broken connection into a sentence; its traceback would bury the cause.

    Raises:
        LostProcessError: In a run of several processes, if one of the others has gone.
    """
    try:
        yield
    except RuntimeError as error:  # torch's DistError is one
        if dist.get_world_size() == 1 or not _GONE.search(str(error)):
            raise
        raise LostProcessError(
            f"Process {dist.get_rank()} ends because another process of this run has ended: its "
            "own message, or the signal that killed it, is the cause. Go on with --resume."
        ) from error

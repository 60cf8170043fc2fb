"""Several processes: their group, nccl on GPUs and gloo on CPU, and the end of another one."""

import datetime
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine import dist
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS  # its runner looks in no other registry
from torch import nn

# Launcher -> its names of rank, number of processes and local rank, and who starts it.
_LAUNCHERS = {
    "pytorch": (("RANK", "WORLD_SIZE", "LOCAL_RANK"), "torchrun (tools/dist_train.sh)"),
    "slurm": (("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"), "srun"),
    "mpi": (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        "mpirun",
    ),
}


def _set_rank_variables(launcher: str) -> None:
    """Translate the launcher's variables to those of torch.distributed."""
    env, (needed, starter) = os.environ, _LAUNCHERS[launcher]
    if missing := [name for name in needed if name not in env]:
        raise ValueError(
            f"--launcher {launcher} needs the environment variables {', '.join(missing)}: start "
            f"the tool with {starter}, or use --launcher none."
        )
    env["RANK"], env["WORLD_SIZE"] = env[needed[0]], env[needed[1]]
    if launcher == "slurm":
        env["LOCAL_RANK"] = env.get("SLURM_LOCALID", "0")
        if "MASTER_ADDR" not in env:
            command = ["scontrol", "show", "hostnames", env["SLURM_NODELIST"]]
            env["MASTER_ADDR"] = subprocess.check_output(command, text=True).split()[0]
    elif launcher == "mpi":
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
    if launcher not in _LAUNCHERS:
        names = ", ".join(_LAUNCHERS)
        raise ValueError(f"launcher must be one of none, {names}, got '{launcher}'.")
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


@MODEL_WRAPPERS.register_module()
class AFADistributedDataParallel(MMDistributedDataParallel):
    """Average gradients over the processes, with nccl on GPUs or gloo on CPU.

    Args:
        module: The model, already on its device.
        device_ids: The GPU of this process. mmengine's runner gives it always; it is dropped
            when the model is on CPU, where torch refuses it.
        find_unused_parameters: Whether to look for parameters without gradient. True, because
            the phases of a weakly supervised recipe leave whole heads unused.
        broadcast_buffers: Whether rank 0 sends its buffers to the others before each forward.
        **kwargs: Further arguments of mmengine's wrapper and torch's DistributedDataParallel.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: list[int] | None = None,
        find_unused_parameters: bool = True,
        broadcast_buffers: bool = False,
        **kwargs: Any,
    ) -> None:
        if next(module.parameters()).device.type != "cuda":
            device_ids = None
        super().__init__(
            module,
            device_ids=device_ids,
            find_unused_parameters=find_unused_parameters,
            broadcast_buffers=broadcast_buffers,
            **kwargs,
        )


def unwrapped(model: Any) -> Any:
    """Return the network itself, without its wrappers (several processes, test at scales)."""
    while hasattr(model, "module"):
        model = model.module
    return model


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

"""How a training step shrinks when processes share its batch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from afa.apis.benchmark_measure import spread, take_turns
from afa.apis.benchmark_model import build_setup
from afa.apis.benchmark_options import BenchmarkOptions
from afa.testing.plain_step import train_step
from afa.utils.files import read_json, write_json

PROCESSES = (1, 2)


def possible_processes(options: BenchmarkOptions) -> Sequence[int]:
    """Numbers of processes that can share the batch and have a GPU each, if there are GPUs."""
    on_gpu = options.device.startswith("cuda")
    most = torch.cuda.device_count() if on_gpu else options.batch
    return [number for number in PROCESSES if options.batch % number == 0 and number <= most]


def step_of_processes(options: BenchmarkOptions, number: int) -> float:
    """Measure a step of the last phase, with backward pass, exchange of gradients and AdamW.

    Args:
        options: device, config, crop, type of numbers, and the batch of all processes together.
        number: of processes, which share batch and threads.

    Returns:
        Median of the seconds.
    """
    threads = max(1, torch.get_num_threads() // number)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_work, args=(number, options, threads, folder), nprocs=number)
        return float(read_json(Path(folder) / "seconds.json"))


def _work(rank: int, number: int, options: BenchmarkOptions, threads: int, folder: str) -> None:
    """Be one of the processes."""
    from afa.engine.model_wrappers import AFADistributedDataParallel

    torch.set_num_threads(threads)
    on_gpu = options.device.startswith("cuda")
    device = f"cuda:{rank}" if on_gpu else options.device
    if on_gpu:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", f"file://{folder}/meeting", rank=rank, world_size=number
    )
    setup = build_setup(
        options.config, options.crop, options.batch // number, device,
        getattr(torch, options.dtype),
    )  # fmt: skip
    model: Any = AFADistributedDataParallel(setup.model, [rank] if on_gpu else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9, weight_decay=0.01, fused=True)

    def step() -> None:
        with setup.autocast():
            losses = model(setup.inputs, setup.samples, mode="loss")
        train_step(optimizer, losses)

    # As many rounds in every process: they wait for each other.
    seconds = take_turns([step], device, budget=float("inf"), most=5)[0]
    if rank == 0:
        write_json(Path(folder) / "seconds.json", spread(seconds)["median"])
    dist.barrier()
    dist.destroy_process_group()

"""How cost grows: a step over crop, classes, batch and processes; images per second of a training.

Processes share the batch of a step and exchange their gradients.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from afa.files.whole_file import read_json, write_json
from afa.models.functional import present_classes
from plain_afa import train_step
from speed_measure import peak_memory, spread, take_turns
from speed_options import BenchmarkOptions
from speed_parts import Setup, build_setup, par_case, step_case

CROPS, CLASSES, BATCHES, PROCESSES = (160, 224, 320, 448), (21, 81), (1, 2, 4), (1, 2)
ARCHS, GPU_BATCHES, GPU_CROP = ("b0", "b1", "b2"), (4, 8, 16), 512
GPU_MODES = ("float32", "tf32", "bfloat16", "bfloat16 compiled", "bfloat16 CUDA graphs")
_COMPILED: dict[str, Any] = {
    "bfloat16 compiled": True, "bfloat16 CUDA graphs": dict(mode="reduce-overhead"),
}  # fmt: skip
RECIPE_SIZE = ("b1", 4)  # of VOC, both processes together
# 20,000 iterations of the VOC recipe by phase.
RECIPE = dict(cls=2000, pseudo=4000, propagated=14000)


def measure_scaling(options: BenchmarkOptions, limits: dict[str, float]) -> dict[str, Any]:
    """Measure step and PAR over crop, classes and batch, one varied at a time; 1 and 2 processes.

    Args:
        options: device, config and type of numbers; its sizes are the ones that stay.
        limits: of the machine, not used.

    Returns:
        ``rows``: what was varied, its value, seconds of a step and, but for processes, of PAR, and
        peak MiB of a step.
    """
    del limits
    rows: list[dict[str, Any]] = []
    base: dict[str, Any] = dict(crop=options.crop, batch=options.batch)
    for name, values in dict(crop=CROPS, num_classes=CLASSES, batch=BATCHES).items():
        for value in values:
            setup = _setup(options, **{**base, name: value})
            step, par = step_case(setup).ours, par_case(setup).ours
            step_s, par_s = take_turns([step, par], options.device, 6.0, most=3)
            rows.append(
                dict(
                    name=name,
                    value=value,
                    step=spread(step_s)["median"],
                    par=spread(par_s)["median"],
                    memory=peak_memory(step, options.device),
                )
            )
            print(f"  {name} {value}: {rows[-1]['step']:.3f} s", flush=True)
    for number in possible_processes(options):
        rows.append(dict(name="processes", value=number, step=step_of_processes(options, number)))
        print(f"  processes {number}: {rows[-1]['step']:.3f} s", flush=True)
    return dict(title="Scaling", rows=rows, notes=base)


def _setup(options: BenchmarkOptions, **sizes: Any) -> Setup:
    dtype = getattr(torch, options.dtype)
    return build_setup(options.config, device=options.device, dtype=dtype, **sizes)


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
    from afa.engine.dist import AFADistributedDataParallel

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


def measure_throughput(
    options: BenchmarkOptions, keep: Callable[[dict[str, Any]], Any] = lambda found: None
) -> dict[str, Any]:
    """Measure training at crop 512: images per second and memory by size, batch and precision.

    In order of worth: the size and batch of VOC's recipe, the others in bfloat16, the recipe's
    compiled, the rest. No row is begun after ``options.seconds``.

    Args:
        options: device and config; on CPU nothing but its own size and batch is measured.
        keep: given what has been found after each row.

    Returns:
        ``rows``: architecture, batch, mode, images per second, peak MiB, the share of the step in
        each piece, and the projected hours of the 20,000 iterations of the VOC recipe; ``error``
        instead where the memory does not suffice.
    """
    on_gpu = options.device.startswith("cuda")
    modes = GPU_MODES if on_gpu else (options.dtype,)
    crop, batches = (GPU_CROP, GPU_BATCHES) if on_gpu else (options.crop, (options.batch,))
    archs = ARCHS if on_gpu else (None,)
    rows = sorted(itertools.product(archs, batches, modes), key=_worth)
    found: dict[str, Any] = dict(title="Training", rows=[])
    begin = time.monotonic()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        for arch, batch, mode in rows:
            if time.monotonic() - begin > options.seconds:
                print(f"  stopped after {options.seconds:.0f} s", flush=True)
                break
            row: dict[str, Any] = dict(arch=arch, batch=batch, mode=mode, crop=crop)
            found["rows"].append({**row, **_throughput(options, row)})
            print(f"  {found['rows'][-1]}", flush=True)
            keep(found)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    return found


def _worth(row: tuple[str | None, int, str]) -> int:
    """Give what is to be measured early a low number."""
    is_recipe, is_compiled = row[:2] == RECIPE_SIZE, row[2] in _COMPILED
    if is_recipe:
        return 2 if is_compiled else 0
    return 1 if row[2] == "bfloat16" else 3


def _throughput(options: BenchmarkOptions, row: dict[str, Any]) -> dict[str, Any]:
    mode = row["mode"]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
    dtype = torch.bfloat16 if mode.startswith("bfloat16") else torch.float32
    try:
        setup = build_setup(
            options.config, row["crop"], row["batch"], options.device, dtype, row["arch"],
            compiled=_COMPILED.get(mode, False),
        )  # fmt: skip
        return _phases_and_shares(setup)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return dict(error="out of memory")


def _phases_and_shares(setup: Setup) -> dict[str, Any]:
    """Time a step of each phase, and the pieces of one of the last."""
    step = step_case(setup).ours
    seconds = {}
    for phase in RECIPE:
        setup.model.set_phase(phase)
        seconds[phase] = spread(take_turns([step], setup.device, 2.0)[0])["median"]
    memory = peak_memory(step, setup.device)
    pieces = {name: _median(func, setup.device) for name, func in step_pieces(setup).items()}
    total = seconds["propagated"]
    pieces["losses, backward pass, optimizer"] = max(0.0, total - sum(pieces.values()))
    return dict(
        step=total,
        images_per_second=len(setup.inputs) / total,
        memory=memory,
        shares={name: value / total for name, value in pieces.items()},
        recipe_hours=sum(RECIPE[phase] * value for phase, value in seconds.items()) / 3600,
    )


def _median(func: Callable[[], Any], device: str) -> float:
    return spread(take_turns([func], device, 6.0, most=5)[0])["median"]


def step_pieces(setup: Setup) -> dict[str, Callable[[], Any]]:
    """What a step of the last phase computes before its losses, piece by piece.

    Args:
        setup: model and batch.

    Returns:
        Name to a function that computes the piece.
    """
    model, inputs = setup.model, setup.inputs
    class_idx = present_classes(setup.labels)

    def cams() -> None:
        with torch.no_grad(), setup.autocast():
            model.cams_and_walk(inputs, class_idx, with_walk=True)

    def forward() -> None:
        with setup.autocast():
            feats, attention = model._features(inputs)
            model.decode_head(feats)
            if attention is not None:
                model.affinity_head(attention)

    return {"CAMs": cams, "PAR": par_case(setup).ours, "forward pass": forward}

"""Measure the memory of a long training: `python tools/benchmarks/train_memory.py`.

Data workers are included, the images generated.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from afa.utils.cli import main_guard
from test_memory import CONFIG, ROOT

NUM_IMAGES = (64, 16)  # for training, for validation
# The share of the run at its end in which memory must not grow any more: the last of the three
# phases of the training has begun well before.
SETTLED = 0.6


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Train the smallest network on generated images for long and watch the memory "
        "of trainer and data workers."
    )
    parser.add_argument("--work-dir", default="work_dirs/train_memory", help="for everything")
    parser.add_argument("--num-iters", type=int, default=3000)
    parser.add_argument("--num-vals", type=int, default=5, help="validations")
    parser.add_argument("--crop", type=int, default=32, help="side of the crops in pixels")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="data workers")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two looks")
    return parser.parse_args()


def run_train_memory(
    work_dir: str | Path,
    num_iters: int = 3000,
    num_vals: int = 5,
    crop: int = 32,
    batch_size: int = 2,
    workers: int = 2,
    interval: float = 2.0,
) -> dict[str, Any]:
    """Train the smallest network on small crops and watch the memory of all processes.

    Args:
        work_dir: Folder for images, logs, ``memory.json`` and ``memory.png``.
        num_iters: Iterations: a fifth trains the classifier only, a fifth from the pseudo label,
            the rest from the propagated label.
        num_vals: Validations, evenly spread; with each a checkpoint and pictures.
        crop: Side of the crops in pixels.
        batch_size: Images a step.
        workers: Processes that load training images.
        interval: Seconds between two looks at the memory.

    Returns:
        What ``memory.json`` holds: peak of the memory in MiB, of all processes and of the trainer
        alone; what it grew by in the last :data:`SETTLED` of the run (slope times time); the
        seconds and the samples.

    Raises:
        ValueError: If the training fails, or there are more validations than iterations.
    """
    from afa.datasets.shapes import write_shapes
    from afa.files.whole_file import write_bytes, write_json
    from afa.utils.environment import collect_versions, device_name
    from process_memory import growth, memory_plot, run_measured

    if not 1 <= num_vals <= num_iters:
        raise ValueError(
            f"There must be 1 to {num_iters} validations in {num_iters} iterations, got {num_vals}."
        )
    work = Path(work_dir)
    write_shapes(work / "data", *NUM_IMAGES, size=48, overwrite=True)
    config = _write_config(work, num_iters, num_vals, crop, batch_size, workers)
    folder = work / "train"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, str(ROOT / "tools/train.py"), str(config), "--work-dir", str(folder)]
    print(f"tools/train.py; the log is in {folder / 'console.log'}", flush=True)
    with open(folder / "console.log", "wb") as log:
        status, samples = run_measured(command, log, interval)
    if status != 0 or not samples:
        raise ValueError(f"The training ended with {status}: see {folder / 'console.log'}.")
    seconds = samples[-1].seconds
    alone = [sample._replace(total=sample.main) for sample in samples]
    result: dict[str, Any] = dict(
        num_iters=num_iters,
        num_vals=num_vals,
        crop=crop,
        batch_size=batch_size,
        workers=workers,
        device=device_name(),
        cores=os.cpu_count(),
        versions=collect_versions(),
        seconds=round(seconds, 1),
        peak_mib=round(max(sample.total for sample in samples)),
        growth_mib=round(growth(samples, SETTLED * seconds), 1),
        trainer_peak_mib=round(max(sample.main for sample in samples)),
        trainer_growth_mib=round(growth(alone, SETTLED * seconds), 1),
        samples=[[round(value, 1) for value in sample] for sample in samples],
    )
    write_json(work / "memory.json", result)
    title = f"{num_iters} iterations, {num_vals} validations, {workers} workers"
    write_bytes(work / "memory.png", memory_plot({"all processes": samples}, title))
    return result


def _write_config(
    work: Path, num_iters: int, num_vals: int, crop: int, batch_size: int, workers: int
) -> Path:
    """Write the config: that of `make demo`, smaller and longer."""
    from afa.engine.config import load_config

    cfg = load_config(str(ROOT / CONFIG), options={"data_root": str(work / "data")})
    size, every = (crop, crop), num_iters // num_vals
    cfg.model.data_preprocessor.size = size
    _set_crop(cfg, size)
    cfg.train_dataloader.update(
        batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0
    )
    cfg.train_cfg.update(max_iters=num_iters, val_interval=every)
    cfg.default_hooks.checkpoint.interval = every
    cfg.param_scheduler = [dict(type="PolyLR", by_epoch=False, begin=0, end=num_iters + 1)]
    cfg.custom_hooks = [
        dict(
            type="PhaseHook",
            phases=dict(cls=0, pseudo=num_iters // 5, propagated=2 * num_iters // 5),
        ),
        dict(type="ReproducibleHook"),
        dict(type="WSSSVisualizationHook", interval=every),
    ]
    path = work / "train_memory.py"
    cfg.dump(path)
    return path


def _set_crop(cfg: Any, size: tuple[int, int]) -> None:
    for step in cfg.train_dataloader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = size
        elif step["type"] == "RandomCropPad":
            step["crop_size"] = size
    cfg.train_pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.crop_size = size


def main() -> None:
    """Train, and tell where the result is."""
    args = parse_args()
    result = run_train_memory(**vars(args))
    print(
        f"{result['seconds']:.0f} s; peak {result['peak_mib']} MiB, growth at the end "
        f"{result['growth_mib']} MiB (trainer alone {result['trainer_peak_mib']} and "
        f"{result['trainer_growth_mib']}); {args.work_dir}: memory.json, memory.png"
    )


if __name__ == "__main__":
    main_guard(main)

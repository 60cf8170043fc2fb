"""The demo: make Shapes, train AFA on it, test it, and show what came out."""

import contextlib
import io
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner, find_latest_checkpoint

from afa.datasets.shapes import write_shapes
from afa.engine.config import load_config
from afa.engine.hooks.console_progress_hook import FIGURES, ConsoleProgressHook
from afa.engine.hooks.report_hook import REPORT
from afa.engine.runner import build_runner
from afa.files.photo import write_picture
from afa.files.whole_file import write_json
from afa.utils.environment import collect_versions, device_name
from afa.utils.home import ROOT, run_text
from afa.utils.progress import time_text
from afa.visualization.sheet import sample_sheet

CONFIG = "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"
MARKER = ".afa_demo"  # tells a folder of the demo, whose files may be replaced, from any other
SUMMARY, SHEET = "summary.json", "summary.png"
_PLAIN = (type(None), str, int, float, list, tuple, dict)  # what JSON has
_RUN_FOLDER = re.compile(r"\d{8}_\d{6}")
_RUN_FILE = re.compile(
    r"((best_.+|iter_\d+)\.pth|last_checkpoint|.+_shapes-.+\.py|(summary|report)\..+)"
)


def prepare_work_dir(work_dir: str | Path) -> bool:
    """Make the work dir; remove what an earlier demo left in it, and nothing else.

    Returns:
        Whether there was an earlier demo.

    Raises:
        ValueError: if the folder holds something else.
    """
    work = Path(work_dir)
    if work.exists() and not work.is_dir():
        raise ValueError(f"'{work}' is a file: choose another --work-dir.")
    old = sorted(work.iterdir()) if work.is_dir() else []
    if old and not (work / MARKER).is_file():
        raise ValueError(
            f"'{work}' is not empty and not of an earlier demo (no {MARKER} in it): choose another "
            "--work-dir; this one is left as it is."
        )
    for path in old:
        if path.is_dir() and not path.is_symlink() and _RUN_FOLDER.fullmatch(path.name):
            shutil.rmtree(path)
        elif path.is_file() and _RUN_FILE.fullmatch(path.name):
            path.unlink()
    work.mkdir(parents=True, exist_ok=True)
    (work / MARKER).write_text("Made by tools/demo.py, which replaces its own files here.\n")
    return bool(old)


def make_data(data_root: str, num_train: int, num_val: int) -> float:
    """Generate Shapes unless it is there; return the seconds it took.

    Raises:
        ValueError: if the folder holds something else, or a Shapes set of other settings.
    """
    start = time.perf_counter()
    try:
        made = write_shapes(data_root, num_train, num_val, workers=min(4, os.cpu_count() or 1))
    except ValueError as error:
        reason = str(error).split(": choose another folder")[0]
        raise ValueError(f"{reason}: give the demo another folder with --data-root.") from error
    if made:
        print(f"Generated {num_train} training and {num_val} validation pictures in {data_root}.")
    else:
        print(f"The pictures are already in {data_root}.")
    return time.perf_counter() - start


def _build(cfg: Config, stage: str, progress: ConsoleProgressHook) -> Runner:
    """Build a runner that logs everything to its file and only errors to the console."""
    with contextlib.redirect_stdout(io.StringIO()):
        runner = build_runner(cfg, stage=stage)
        if stage == "test":
            runner.load_or_resume()  # mmengine prints what it loads
    for handler in runner.logger.handlers:
        if type(handler) is logging.StreamHandler:  # and not one of its kinds, to a file
            handler.setStream(sys.stdout)
            handler.setLevel(logging.ERROR)
    runner.register_hook(progress, priority="NORMAL")
    return runner


def _checkpoint(work_dir: str) -> str:
    """Return the best checkpoint, or else the last one."""
    best = sorted(Path(work_dir).glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    path = str(best[-1]) if best else find_latest_checkpoint(work_dir)
    if not path or not os.path.isfile(path):
        raise FileNotFoundError(
            f"The training left no checkpoint in {work_dir}: set default_hooks.checkpoint.interval "
            "to at most the number of iterations."
        )
    return path


def _train(cfg: Config, progress: ConsoleProgressHook) -> float:
    """Train; return the seconds it took, validation included."""
    start = time.perf_counter()
    runner = _build(cfg, "train", progress)
    print(
        f"Training for {runner.max_iters} iterations on {device_name()}; "
        f"the whole log is in {Path(runner.log_dir) / (runner.timestamp + '.log')}.",
        flush=True,
    )
    runner.train()
    return time.perf_counter() - start


def run_demo(
    work_dir: str = "work_dirs/demo",
    data_root: str = "data/shapes",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    num_train: int = 800,
    num_val: int = 100,
    command: str = "",
) -> dict[str, Any]:
    """Generate Shapes, train AFA on it, test the best checkpoint, write summary and pictures.

    Args:
        work_dir: folder for everything that is written, the data apart.
        data_root: folder of the data; generated if it is not there.
        seed: seed of the training.
        options: dotted key to value, put over the config.
        num_train: pictures in the training split.
        num_val: pictures in the validation split.
        command: the command line, for the summary.

    Returns:
        What is written to ``summary.json``.

    Raises:
        ValueError: if a folder holds something else, or the config cannot run.
    """
    begin = time.perf_counter()
    overrides = {"data_root": str(data_root), "randomness.seed": seed, **(options or {})}
    cfg = load_config(str(ROOT / CONFIG), work_dir=str(work_dir), options=overrides)
    if (Path(work_dir) / MARKER).is_file() and (Path(work_dir) / SUMMARY).is_file():
        print(f"{work_dir} holds a finished demo: its files are replaced by the new run's.")
    prepare_work_dir(work_dir)
    seconds = dict(generation=make_data(data_root, num_train, num_val))
    progress = ConsoleProgressHook()
    seconds["training"] = _train(cfg, progress)

    start = time.perf_counter()
    checkpoint = _checkpoint(cfg.work_dir)
    print(f"Testing {Path(checkpoint).name}", flush=True)
    cfg.load_from, cfg.resume = checkpoint, False
    runner = _build(cfg, "test", progress)
    metrics = runner.test()
    seconds["testing"] = time.perf_counter() - start
    write_picture(Path(work_dir) / SHEET, draw_sheet(runner, metrics))
    seconds["total"] = time.perf_counter() - begin

    versions = collect_versions()
    summary = dict(
        figures=dict(metrics),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        peak_memory_mib=progress.peak_memory_mib,
        device=device_name(),
        checkpoint=Path(checkpoint).name,
        config=CONFIG,
        options={k: v if isinstance(v, _PLAIN) else str(v) for k, v in overrides.items()},
        command=command,
        git=versions.pop("git", None),
        versions=versions,
    )
    write_json(Path(work_dir) / SUMMARY, summary)
    _say_end(summary, str(work_dir))
    return summary


def draw_sheet(runner: Runner, metrics: Mapping[str, float], num_images: int = 12) -> np.ndarray:
    """Draw photo, CAM, PAR, propagated label, prediction and truth of some test images.

    Args:
        runner: a runner after its test.
        metrics: its figures; the mIoU of each column stands in its title.
        num_images: number of images, spread evenly over the set.

    Returns:
        (H, W, 3) RGB uint8.
    """
    dataset = runner.test_dataloader.dataset
    chosen = np.linspace(0, len(dataset) - 1, min(num_images, len(dataset)))
    samples = []
    with torch.no_grad():
        for index in chosen:
            samples += runner.model.test_step(pseudo_collate([dataset[int(index)]]))
    return sample_sheet(samples, dataset.metainfo, metrics)


def _say_end(summary: Mapping[str, Any], work_dir: str) -> None:
    """Print figures, places and what to try next."""
    figures, checkpoint = summary["figures"], summary["checkpoint"]
    weights = f"{work_dir}/{checkpoint}"
    photo = f"{summary['options']['data_root']}/JPEGImages/val_00000.jpg"
    spent = time_text(summary["seconds"]["total"])
    lines = [f"\nDone in {spent}. In percent, on the validation images:"]
    for key, text in FIGURES.items():
        if figures.get(key) is not None:
            made = key.startswith(("cam/", "par/", "propagated/"))
            note = "  (labels made with the image labels)" if made else ""
            lines.append(f"  {text:<20}{figures[key]:6.1f}{note}")
    lines += [
        "The network was trained on image labels alone; masks were only used to measure.",
        f"\nEverything is in {work_dir}:",
        f"  {REPORT:<28}the training at a glance: open it in a browser",
        f"  {SHEET:<28}photo, CAM, PAR, propagated label, prediction, truth",
        f"  {SUMMARY:<28}all figures, seconds, peak memory, versions",
        f"  {checkpoint:<28}the weights that were tested",
        f"  {'<date>_<time>/':<28}logs, and pictures made during training (vis_data/vis_image)",
        "\nWhat to try next:",
        f"  {run_text('predict', weights, photo, '--cam')}",
        f"  {run_text('web', weights)}",
        f"  {run_text('train', summary['config'])}",
        f"  {run_text('test', summary['config'], weights)}",
        f"  {run_text('config')} (lists the recipes: VOC, COCO, photos of your own)",
    ]
    print("\n".join(lines), flush=True)

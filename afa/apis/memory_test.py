"""Measure memory and time of tools/test.py on generated images."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

import afa
from afa.apis.summary import device_name
from afa.datasets.shapes_writer import write_shapes
from afa.engine.config import load_config
from afa.engine.evaluation_report import REPORT
from afa.utils.cli import show_progress
from afa.utils.environment import collect_versions
from afa.utils.files import write_bytes, write_json
from afa.utils.process_memory import MemorySample, growth, run_measured
from afa.visualization.memory_plot import memory_plot

ROOT = Path(afa.__file__).resolve().parent.parent
CONFIG = "configs/afa/afa_mit-b0_1xb8-720it_shapes-96x96.py"


def run_memory_test(
    work_dir: str | Path,
    num_images: int,
    size: int = 48,
    input_size: int | None = None,
    tta: bool = False,
    crf_workers: Sequence[int] | None = None,
    interval: float = 1.0,
) -> dict[str, Any]:
    """Generate images, test the smallest network with drawn weights on them, and watch its memory.

    Args:
        work_dir: folder for images, logs, ``memory.json`` and ``memory.png``. Images that are
            there are used again.
        num_images: number of images.
        size: mean side of the images in pixels.
        input_size: longest side of the network's input; None for the images' own.
        tta: test with ``--tta``.
        crf_workers: test with ``--crf``, once with each of these numbers of processes; None for
            without.
        interval: seconds between two looks at the memory.

    Returns:
        What ``memory.json`` holds: for each run its peak memory in MiB (of all processes, pages
        that they share counted for each), what it grew by in the last three quarters of the test,
        its seconds and the samples; with several numbers of processes their ``speedup``.

    Raises:
        ValueError: If a number is out of range, or a test fails.
    """
    work = Path(work_dir)
    work.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    print(f"Generating {num_images} images in {work / 'data'}", flush=True)
    write_shapes(
        work / "data", 1, num_images, size=size, workers=cores, overwrite=True,
        progress=lambda done, total: show_progress(done, total, "images"),
    )  # fmt: skip
    config = _write_config(work, input_size)
    plain: list[int | None] = [None]
    runs = [_run(work, config, tta, number, interval) for number in (crf_workers or plain)]
    result: dict[str, Any] = dict(
        num_images=num_images,
        size=size,
        input_size=input_size,
        tta=tta,
        device=device_name(),
        cores=cores,
        versions=collect_versions(),
        runs=runs,
    )
    if len(runs) > 1:
        result["speedup"] = {
            run["name"]: round(runs[0]["seconds"] / run["seconds"], 2) for run in runs[1:]
        }
    write_json(work / "memory.json", result)
    samples = {run["name"]: [MemorySample(*s) for s in run["samples"]] for run in runs}
    title = f"tools/test.py on {num_images} images of about {size} x {size}"
    write_bytes(work / "memory.png", memory_plot(samples, title))
    return result


def _write_config(work: Path, input_size: int | None) -> Path:
    """Write the config of the test and drawn weights; only the segmentation is computed."""
    cfg = load_config(str(ROOT / CONFIG), options={"data_root": str(work / "data")})
    cfg.model.test_cfg.pseudo_labels = False
    if input_size is not None:
        pipeline = list(cfg.test_dataloader.dataset.pipeline)
        scale = (input_size, input_size)
        pipeline.insert(1, dict(type="Resize", scale=scale, keep_ratio=True))
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.pipeline = pipeline
        cfg.test_pipeline = pipeline
    _write_weights(cfg, work / "drawn.pth")
    path = work / "memory_test.py"
    cfg.dump(path)
    return path


def _write_weights(cfg: Config, path: Path) -> None:
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), path)


def _run(
    work: Path, config: Path, tta: bool, crf_workers: int | None, interval: float
) -> dict[str, Any]:
    """Run tools/test.py once and tell what it took."""
    options = ["--tta"] if tta else []
    if crf_workers is not None:
        options += ["--crf", "--crf-workers", str(crf_workers)]
    name = " ".join(options) or "single scale"
    folder = work / (name.replace("--", "").replace(" ", "_"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, str(ROOT / "tools/test.py"), str(config), str(work / "drawn.pth")]
    command += ["--work-dir", str(folder), *options]
    print(f"tools/test.py, {name}; the log is in {folder / 'console.log'}", flush=True)
    with open(folder / "console.log", "wb") as log:
        status, samples = run_measured(command, log, interval)
    if status != 0:
        raise ValueError(f"The test ended with status {status}: see {folder / 'console.log'}.")
    report = json.loads(next(folder.glob(f"*/{REPORT}")).read_text())
    run = dict(
        name=name,
        command=" ".join(command),
        seconds=report["seconds"],
        images_per_second=round(report["num_images"] / max(0.1, report["seconds"]), 2),
        peak_mib=round(max(sample.total for sample in samples)),
        growth_mib=round(growth(samples, 0.75 * report["seconds"]), 1),
        samples=[[round(value, 1) for value in sample] for sample in samples],
    )
    print(
        f"  {run['seconds']} s, {run['images_per_second']} images/s, peak {run['peak_mib']} MiB, "
        f"growth {run['growth_mib']} MiB",
        flush=True,
    )
    return run

"""Measure memory and time of tools/test.py: `python tools/benchmarks/test_memory.py`.

The images are generated, the weights drawn.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afa.utils.cli import main_guard
from afa.utils.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Test the smallest network on generated images and watch its memory."
    )
    parser.add_argument("--work-dir", default="work_dirs/test_memory", help="folder for everything")
    parser.add_argument("--num-images", type=int, default=300)
    parser.add_argument("--size", type=int, default=48, help="mean side of the images in pixels")
    parser.add_argument(
        "--input-size", type=int, metavar="N", help="longest side of the network's input"
    )
    parser.add_argument("--tta", action="store_true", help="test with --tta")
    parser.add_argument(
        "--crf-workers",
        type=int,
        nargs="+",
        metavar="N",
        help="test with --crf, once with each of these numbers of processes",
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, help="seconds between two looks (default: 1)"
    )
    return parser.parse_args()


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
    from afa.datasets.shapes import write_shapes
    from afa.files.whole_file import write_bytes, write_json
    from afa.utils.environment import collect_versions, device_name
    from process_memory import MemorySample, memory_plot

    work = Path(work_dir)
    work.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    print(f"Generating {num_images} images in {work / 'data'}", flush=True)
    write_shapes(
        work / "data", 1, num_images, size=size, workers=cores, overwrite=True,
        progress=Progress().show,
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
    from afa.engine.config import load_config

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


def _write_weights(cfg: Any, path: Path) -> None:
    import torch
    from mmengine.registry import init_default_scope
    from mmengine.utils import import_modules_from_strings
    from mmseg.registry import MODELS

    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), path)


def _run(
    work: Path, config: Path, tta: bool, crf_workers: int | None, interval: float
) -> dict[str, Any]:
    """Run tools/test.py once and tell what it took."""
    from afa.engine.test_options import REPORT
    from process_memory import growth, run_measured

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


def main() -> None:
    """Generate, test, and tell where the result is."""
    args = parse_args()
    result = run_memory_test(**vars(args))
    for name, factor in result.get("speedup", {}).items():
        print(f"{name}: {factor} times as fast as {result['runs'][0]['name']}")
    print(f"Curves and figures are in {args.work_dir}: memory.json, memory.png")


if __name__ == "__main__":
    main_guard(main)

"""All that matters about a GPU, in one run of limited time: `gpu.py [--out DIR] [--seconds 480]`.

In order of worth: what must hold (`gpu_checks.py`), the parts of a step beside the way they are
usually computed, images per second by size and precision, and AFA on photos from start to end. Each
is a process of its own; what has been found is written as it comes, to `gpu.json` and `gpu.md`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afa.utils.cli import main_guard

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PHOTOS = "configs/afa/afa_lite0_1xb8-580it_voc12mini-224x224.py"
PHOTO_ITERS, SLOWEST_ITER, VALIDATION = (
    580,
    0.25,
    45.0,
)  # seconds of one, and of what is around them
FIGURES = ("cam/mIoU", "par/mIoU", "propagated/mIoU", "seg/mIoU", "cls/mAP")
NUM_PICTURES = 4


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Check and measure everything on a GPU.")
    parser.add_argument("--out", default="work_dirs/gpu", help="folder for the results")
    parser.add_argument("--seconds", type=float, default=480, help="for all together (480)")
    parser.add_argument("--device", default="cuda", help="cuda (default), or cpu to rehearse")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to rehearse")
    parser.add_argument(
        "--data-root", default="data/voc12-mini", help="photos in VOC's layout (data/voc12-mini)"
    )
    parser.add_argument(
        "--weights", metavar="FILE",
        help="ImageNet weights of EfficientNet-lite0 (default: the package that the config names)",
    )  # fmt: skip
    parser.add_argument(
        "--checks", nargs="*", metavar="NAME", help="run these checks, or all, and nothing else"
    )
    return parser.parse_args()


@dataclass
class Clock:
    """The seconds of a run, from its beginning."""

    seconds: float

    def __post_init__(self) -> None:
        self.begin = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.begin)


def run_command(command: Sequence[str | Path], seconds: float, log: Path) -> int | None:
    """Run a tool of the repository; what it says goes to the screen and to a file.

    Args:
        command: path in the repository, and arguments.
        seconds: after which the process and its children are killed.
        log: file that it is added to.

    Returns:
        Exit status, None where the time ran out.
    """
    words = [sys.executable, "-u", *map(str, command)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    print(f"$ {shlex.join(words[2:])}", flush=True)
    with log.open("ab") as out:
        begin = out.tell()
        process = subprocess.Popen(
            words, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status: int | None = process.wait(timeout=max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = log.read_bytes()[begin:].decode(errors="replace")
    print("\n".join(said.splitlines()[-40:]), flush=True)
    return status


def run_checks(args: argparse.Namespace, out: Path, seconds: float) -> dict[str, Any]:
    """Run every check; a process that dies is followed by another with those that are left."""
    names = ["par", "precision"] if args.tiny else _check_names()
    results, clock = out / "checks" / "results.jsonl", Clock(seconds)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    tool = ["tools/benchmarks/gpu.py", "--device", args.device, "--out", results.parent]
    while (left := names[len(_lines(results)) :]) and clock.left > 5:
        status = run_command([*tool, "--checks", *left], clock.left, out / "checks.log")
        begun = len(_lines(results))
        if begun < len(names):
            said = "the time ran out" if status is None else f"its process ended ({status})"
            row = dict(name=names[begun], what="", outcome="failed", said=said)
            with results.open("a") as file:
                file.write(json.dumps({**row, "figures": [], "seconds": 0.0}) + "\n")
    rows = _lines(results)
    failed = any(row["outcome"] == "failed" for row in rows)
    return dict(results=rows, not_run=names[len(rows) :], status=int(failed))


def _check_names() -> list[str]:
    from gpu_checks import CHECKS

    return list(CHECKS)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def run_speed(args: argparse.Namespace, out: Path, seconds: float) -> dict[str, Any]:
    """The parts beside the way they are usually computed, in float32 and bfloat16."""
    names = ["par", "cams", "step"]
    parts = dict(float32=names, bfloat16=names[:1] if args.tiny else names)
    statuses = [
        _benchmark(args, out, ["--dtype", dtype, "--parts", *some], seconds / 2)
        for dtype, some in parts.items()
    ]
    return dict(_table(out), status=next((one for one in statuses if one != 0), 0))


def run_throughput(args: argparse.Namespace, out: Path, seconds: float) -> dict[str, Any]:
    """Images per second and memory, the recipe's size and batch first."""
    more = ["--parts", "throughput", "--seconds", f"{seconds - 45:.0f}"]
    status = _benchmark(args, out, more, seconds)
    return dict(_table(out), status=status)


def _benchmark(
    args: argparse.Namespace, out: Path, more: Sequence[str], seconds: float
) -> int | None:
    sizes = ["--crop", "64", "--batch", "1"] if args.tiny else ["--crop", "512", "--batch", "4"]
    command = ["tools/benchmarks/benchmark.py", "--device", args.device, *sizes, *more]
    return run_command([*command, "--json", out / "speed.json"], seconds, out / "speed.log")


def _table(out: Path) -> dict[str, Any]:
    """What the benchmark has written so far."""
    path = out / "speed.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def run_photos(args: argparse.Namespace, out: Path, seconds: float) -> dict[str, Any]:
    """AFA on photos with a real schedule: figures of its validation, and pictures."""
    if not Path(args.data_root).is_dir():
        return dict(said=f"there is no '{args.data_root}'", status=1)
    iters = int(min(PHOTO_ITERS, (seconds - VALIDATION) / SLOWEST_ITER))
    checkpoint = "model.backbone.init_cfg.checkpoint"
    options = [f"data_root={Path(args.data_root).resolve()}"]
    options += [f"{checkpoint}={Path(args.weights).resolve()}"] if args.weights else []
    if args.tiny:
        iters = 8
        options += ["model.backbone.init_cfg=None", "train_dataloader.batch_size=2"]
        options += ["val_dataloader.dataset.indices=2"]
    work = out / "photos"
    shutil.rmtree(work, ignore_errors=True)
    command = ["tools/train.py", PHOTOS, "--work-dir", work, "--iters", str(iters)]
    begin = time.monotonic()
    status = run_command([*command, "--cfg-options", *options], seconds, out / "photos.log")
    figures: dict[str, float] = {}
    for path in sorted(work.glob("*/vis_data/scalars.json")):
        for row in _lines(path):
            figures.update({name: row[name] for name in FIGURES if name in row})
            figures.update({"seconds of an iteration": row["time"]} if "loss" in row else {})
    pictures = sorted(work.glob("*/vis_data/vis_image/*"))[-NUM_PICTURES:]
    for path in pictures:
        shutil.copy(path, out / path.name)
    return dict(
        iterations=iters,
        seconds=time.monotonic() - begin,
        status=status,
        figures=figures,
        pictures=[path.name for path in pictures],
    )


Part = Callable[[argparse.Namespace, Path, float], dict[str, Any]]
# In order of worth; the seconds of 480 that each may take.
PARTS: dict[str, tuple[Part, float]] = dict(
    checks=(run_checks, 130), speed=(run_speed, 90), throughput=(run_throughput, 130),
    photos=(run_photos, 200),
)  # fmt: skip


def page(found: Mapping[str, Any]) -> str:
    """Write everything as Markdown.

    Args:
        found: what ``gpu.json`` holds: ``date``, ``commit``, ``command``, ``seconds`` by part, and
            the result of each part that was begun.
    """
    lines = [f"# {found['date']}, commit {found['commit']}", "", f"`{found['command']}`", ""]
    for name, seconds in found["seconds"].items():
        status = found[name].get("status", 0)
        said = "the time ran out" if status is None else f"exit status {status}"
        lines += [f"- {name}: {seconds:.0f} s, {said}"]
    lines += [""]
    if "checks" in found:
        lines += ["| check | outcome | worst figure (at most) | s |", "|---|---|---|---|"]
        lines += [_check_row(row) for row in found["checks"]["results"]]
        missing = ", ".join(found["checks"]["not_run"])
        lines += ["", f"Not run: {missing}." if missing else "All were run.", ""]
    tables = [found[name] for name in ("throughput", "speed") if "parts" in found.get(name, {})]
    if tables:  # both are of one file, the first named has all of it
        from speed_table import benchmark_table

        lines += [benchmark_table(tables[0])]
    if photos := found.get("photos"):
        lines += [_photos_text(photos)]
    return "\n".join(lines) + "\n"


def _check_row(row: Mapping[str, Any]) -> str:
    worst = max(
        row["figures"], key=lambda one: one["value"] / (one["limit"] or 1e-30), default=None
    )
    text = f"{worst['name']} {worst['value']:.2g} ({worst['limit']:g})" if worst else ""
    said = f"**{row['outcome']}** {row['said']}" if row["outcome"] != "passed" else "passed"
    return f"| {row['name']}: {row['what']} | {said} | {text} | {row['seconds']:.0f} |"


def _photos_text(photos: Mapping[str, Any]) -> str:
    if "said" in photos:
        return f"AFA on photos: {photos['said']}."
    text = ", ".join(f"{name} {value:.3g}" for name, value in photos["figures"].items())
    pictures = "\n".join(f"![{name}]({name})" for name in photos["pictures"])
    return (
        f"AFA on photos, EfficientNet-lite0 (`{PHOTOS}`), {photos['iterations']} iterations in "
        f"{photos['seconds']:.0f} s with start and validation: "
        f"{text}.\n\n{pictures}"
    )


def _commit() -> str:
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _need_gpu(device: str) -> None:
    """Refuse to begin without a GPU, unless it is a rehearsal."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(
            f"--device {device} needs a GPU and torch's CUDA build, and none is there: "
            "--device cpu --tiny rehearses."
        )


def main() -> None:
    """Run part after part while there is time; the exit status is 1 if anything failed."""
    args = parse_args()
    _need_gpu(args.device)
    if args.checks is not None:
        import gpu_checks

        sys.exit(int(not gpu_checks.run_checks(args.checks, args.device, Path(args.out))))
    clock = Clock(args.seconds)
    out = Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").unlink(missing_ok=True)
    found: dict[str, Any] = dict(
        date=str(datetime.date.today()), commit=_commit(), seconds={},
        command=shlex.join(["python", *sys.argv]),
    )  # fmt: skip
    for name, (part, share) in PARTS.items():
        seconds = min(share * args.seconds / 480, clock.left - 2)
        if seconds < 5:
            print(f"{name}: no time is left.", flush=True)
            continue
        begin = time.monotonic()
        print(f"\n== {name}, at most {seconds:.0f} s", flush=True)
        found[name] = part(args, out, seconds)
        found["seconds"][name] = time.monotonic() - begin
        (out / "gpu.json").write_text(json.dumps(found, indent=1))
        (out / "gpu.md").write_text(page(found))
    print((out / "gpu.md").read_text())
    sys.exit(int(any(found[name]["status"] for name in found["seconds"])))


if __name__ == "__main__":
    main_guard(main)

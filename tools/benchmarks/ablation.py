"""Repeat the ablation of AFA on Shapes: `python tools/benchmarks/ablation.py`.

Every run is a call of tools/train.py and leaves its work folder; finished runs are not repeated.
Runs of one seed and one pooling share their classification phase.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from afa.files.scalars import read_scalars

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"
LABELS = "configs/afa/afa-labels_mit-b0_1xb8-300it_shapes-96x96.py"
SUPERVISED = "configs/afa/supervised_mit-b0_1xb8-720it_shapes-96x96.py"
NO_AFFINITY = ["model.affinity_head=None", "model.train_cfg.propagation=None"]
# The energy is a sum over all pairs of pixels: at 48 instead of 256 pixels a side, the paper's
# weight of 1e-7 and width of 100 pixels become (256 / 48)^4 times and 48 / 256 as much.
REGULARISER = [
    "model.loss_reg.type=DenseEnergyLoss",
    "model.loss_reg.energy_weight=8.1e-5",
    "model.loss_reg.sigma_xy=19",
]
MODULES = {
    "CAM": ["model.refiner=None", *NO_AFFINITY],
    "+ PAR": NO_AFFINITY,
    "+ AFA": [],
    "+ regulariser": REGULARISER,
}
PROPAGATION = {
    "nothing": ["model.train_cfg.propagation=None"],
    "raw attention": ["model.train_cfg.propagation=attention"],
    "affinity of drawn start": ["model.affinity_head.init_cfg=None"],
}
POOLINGS = ("map", "max", "avg", "topk")  # the first is that of the config
FIGURES = ("cls/F1", "cam/mIoU", "par/mIoU", "propagated/mIoU", "seg/mIoU")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Repeat the ablation of AFA on Shapes.")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cls-iters", type=int, default=380, help="shared classification phase")
    parser.add_argument("--seg-iters", type=int, default=300, help="iterations after it")
    parser.add_argument(
        "--modules-only",
        action="store_true",
        help="leave out the poolings and the upper bound, which have one seed",
    )
    parser.add_argument("--table-only", action="store_true", help="train nothing, only tabulate")
    return parser.parse_args()


def read_figures(work_dir: Path) -> dict[str, float] | None:
    """Read the last validation of a run; None when it has not finished."""
    done = work_dir / "figures.json"
    return json.loads(done.read_text()) if done.exists() else None


def train(config: str, work_dir: Path, iters: int, seed: int, options: list[str]) -> dict:
    """Run tools/train.py unless it ran already, and give the figures of its last validation."""
    figures = read_figures(work_dir)
    if figures is not None:
        return figures
    command = [sys.executable, str(ROOT / "tools/train.py"), str(ROOT / config)]
    command += ["--work-dir", str(work_dir), "--cfg-options", f"train_cfg.max_iters={iters}"]
    command += [f"train_cfg.val_interval={iters}", f"default_hooks.checkpoint.interval={iters}"]
    command += [f"randomness.seed={seed}", *options]
    start = time.time()
    work_dir.mkdir(parents=True, exist_ok=True)
    with open(work_dir / "console.log", "w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode
    if code:
        raise SystemExit(f"{work_dir}: training failed, see {work_dir / 'console.log'}")
    validations = read_scalars(work_dir)[1].values()
    figures = next(line for line in reversed(validations) if "seg/mIoU" in line)
    figures["seconds"] = round(time.time() - start, 1)
    (work_dir / "figures.json").write_text(json.dumps(figures, indent=1))
    return figures


def run_all(args: argparse.Namespace) -> None:
    """Train every row: all seeds of the modules first, then the rows with one seed."""
    rows = {**MODULES, **PROPAGATION}
    jobs = [(seed, POOLINGS[0], name, opts) for seed in args.seeds for name, opts in rows.items()]
    first = args.seeds[0]
    if not args.modules_only:
        jobs += [(first, pooling, "+ AFA", []) for pooling in POOLINGS[1:]]
    for number, (seed, pooling, name, options) in enumerate(jobs, 1):
        print(f"{number}/{len(jobs)} seed {seed}, {pooling} pooling, {name}", flush=True)
        pool = f"model.cls_head.pooling={pooling}"
        shared = run_dir(args, seed, pooling, "classification")
        train(CONFIG, shared, args.cls_iters, seed, [pool, *NO_AFFINITY])
        options = [pool, *options, f"param_scheduler.1.end={args.seg_iters + 1}"]
        options += [f"custom_hooks.0.phases.propagated={args.seg_iters * 2 // 3}"]
        options += [f"load_from={shared / f'iter_{args.cls_iters}.pth'}"]
        train(LABELS, run_dir(args, seed, pooling, name), args.seg_iters, seed, options)
    if not args.modules_only:
        print("upper bound: the same network on the true masks", flush=True)
        train(SUPERVISED, run_dir(args, first, POOLINGS[0], "supervised"), 720, first, [])


def run_dir(args: argparse.Namespace, seed: int, pooling: str, name: str) -> Path:
    """Name the work folder of a run."""
    slug = name.replace("+ ", "with-").replace(" ", "-").lower()
    return args.work_dir.resolve() / f"{slug}_{pooling}_seed{seed}"


def cell(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def table(args: argparse.Namespace) -> str:
    """Tabulate what has been run so far, in percent."""
    first = args.seeds[0]
    groups = [("modules", name, POOLINGS[0], args.seeds) for name in MODULES]
    groups += [("propagation", name, POOLINGS[0], args.seeds) for name in PROPAGATION]
    groups += [("propagation", "+ AFA", POOLINGS[0], args.seeds)]
    groups += [("pooling", "+ AFA", pooling, [first]) for pooling in POOLINGS]
    groups += [("upper bound", "supervised", POOLINGS[0], [first])]
    lines = ["| table | row | pooling | seeds | " + " | ".join(FIGURES) + " |"]
    lines.append("|---|---|---|---|" + "---|" * len(FIGURES))
    for group, name, pooling, seeds in groups:
        found = [read_figures(run_dir(args, seed, pooling, name)) for seed in seeds]
        found = [figures for figures in found if figures is not None]
        cells = []
        for figure in FIGURES:
            values = [figures[figure] for figures in found if figure in figures]
            cells.append(cell(values) if values else "-")
        label = "learned affinity" if (group, name) == ("propagation", "+ AFA") else name
        lines.append(
            f"| {group} | {label} | {pooling} | {len(found)} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, then print and store the table."""
    args = parse_args()
    if not args.table_only:
        run_all(args)
    text = table(args)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    (args.work_dir / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

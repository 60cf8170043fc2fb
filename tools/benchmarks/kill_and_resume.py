"""Kill a training and resume it: `python tools/benchmarks/kill_and_resume.py CONFIG`."""

import argparse
import sys

from afa.utils.cli import main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Kill a short training on CPU at random moments, resume it each time, and "
        "compare what it leaves with a training in one piece, bit for bit."
    )
    parser.add_argument("config", help="config file (.py) of a short training")
    parser.add_argument("--work-dir", default="work_dirs/kill_and_resume", help="it is emptied")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], metavar="N")
    parser.add_argument("--processes", type=int, default=1, help="of the training (gloo)")
    parser.add_argument("--amp", action="store_true", help="train in bfloat16")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """Train, kill, compare; the exit status is 1 if anything differs."""
    args = parse_args()

    from afa.engine.config import load_config
    from afa.files.whole_file import write_json
    from afa.utils.environment import collect_versions
    from killed_training import kill_and_resume

    results = {}
    for workers in args.workers:
        options = {
            **parse_options(args.cfg_options),
            "train_dataloader.num_workers": workers,
            "train_dataloader.persistent_workers": workers > 0,
        }
        cfg = load_config(args.config, options=options)
        work = f"{args.work_dir}/workers_{workers}"
        results[f"workers {workers}"] = result = kill_and_resume(
            cfg, work, args.kills, args.processes, args.amp, args.seed
        )
        print(f"workers {workers}: {result}")
    write_json(
        f"{args.work_dir}/kill_and_resume.json",
        dict(command=sys.argv[1:], versions=collect_versions(), results=results),
    )
    if any(result["differences"] for result in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main_guard(main)

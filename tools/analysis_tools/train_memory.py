"""Measure the memory of a long training: `python tools/analysis_tools/train_memory.py`."""

import argparse

from afa.utils.cli import main_guard


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


def main() -> None:
    """Train, and tell where the result is."""
    args = parse_args()

    from afa.apis.train_memory import run_train_memory

    result = run_train_memory(**vars(args))
    print(
        f"{result['seconds']:.0f} s; peak {result['peak_mib']} MiB, growth at the end "
        f"{result['growth_mib']} MiB (trainer alone {result['trainer_peak_mib']} and "
        f"{result['trainer_growth_mib']}); {args.work_dir}: memory.json, memory.png"
    )


if __name__ == "__main__":
    main_guard(main)

"""Measure memory and time of tools/test.py: `python tools/analysis_tools/test_memory.py`."""

import argparse

from afa.utils.cli import main_guard


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


def main() -> None:
    """Generate, test, and tell where the result is."""
    args = parse_args()

    from afa.apis.memory_test import run_memory_test

    result = run_memory_test(**vars(args))
    for name, factor in result.get("speedup", {}).items():
        print(f"{name}: {factor} times as fast as {result['runs'][0]['name']}")
    print(f"Curves and figures are in {args.work_dir}: memory.json, memory.png")


if __name__ == "__main__":
    main_guard(main)

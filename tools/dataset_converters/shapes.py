"""Generate the built-in data set Shapes in the layout of Pascal VOC."""

import argparse
import os
import time

from afa.utils.cli import main_guard
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", default="data/shapes", help="folder (data/shapes)")
    parser.add_argument("--num-train", type=int, default=800, help="training pictures (800)")
    parser.add_argument("--num-val", type=int, default=100, help="validation pictures (100)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (0)")
    parser.add_argument("--size", type=int, default=96, help="mean side in pixels (96)")
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="threads that draw"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a Shapes set made with other settings"
    )
    return parser.parse_args()


def main() -> None:
    """Generate the set and say where it is."""
    args = parse_args()
    print(
        f"Shapes: {args.num_train} train and {args.num_val} val pictures in {args.out}", flush=True
    )
    from afa.datasets.shapes import write_shapes

    start = time.monotonic()
    if write_shapes(**vars(args), progress=Progress(unit="pictures").show):
        print(f"Done in {time.monotonic() - start:.1f} s.")
    else:
        print("Already complete with these settings: nothing to do.")


if __name__ == "__main__":
    main_guard(main)

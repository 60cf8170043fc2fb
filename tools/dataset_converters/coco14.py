"""Prepare MS COCO 2014 from its instance annotations: label maps, lists and image labels."""

import argparse
import os
import time

from afa.utils.cli import main_guard
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("coco", help="folder with annotations/, train2014/ and val2014/")
    parser.add_argument("--out", help="folder of the prepared set (default: the same)")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=("train", "val"),
        default=["train", "val"],
        help="what to prepare (both)",
    )
    parser.add_argument(
        "--crowd",
        choices=("class", "ignore"),
        default="class",
        help="pixels of crowd regions: their class, as in the literature, or 255 (class)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="processes; 0 for none but this one (one per core, at most 8)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="draw everything again, and replace files that were made otherwise",
    )
    return parser.parse_args()


def main() -> None:
    """Prepare the set and say what it is."""
    args = parse_args()
    print(f"COCO 2014: reading the annotations in {args.coco}", flush=True)
    from afa.datasets.coco14 import CLASSES
    from afa.datasets.prepare.coco14 import class_table, prepare_coco14

    lines: dict[str, Progress] = {}

    def show(split: str, done: int, total: int) -> None:
        lines.setdefault(split, Progress(total, f"{split} images")).step()

    start = time.monotonic()
    reports = prepare_coco14(
        args.coco,
        out=args.out,
        splits=tuple(dict.fromkeys(args.splits)),
        crowd=args.crowd,
        workers=args.workers,
        overwrite=args.overwrite,
        progress=show,
    )
    print(class_table(reports, CLASSES[1:]))
    print("\n".join(report.text(split) for split, report in reports.items()))
    print(f"Ready in {time.monotonic() - start:.1f} s: {args.out or args.coco}")


if __name__ == "__main__":
    main_guard(main)

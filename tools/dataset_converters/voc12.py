"""Prepare PASCAL VOC 2012 aug from the archives of VOC and SBD: masks, lists, image labels."""

import argparse
import os
import time

from afa.utils.cli import main_guard
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vocdevkit", help="VOCdevkit or VOCdevkit/VOC2012, as VOC unpacks")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument("--sbd", help="folder of SBD, as benchmark.tgz unpacks")
    masks.add_argument(
        "--masks",
        help="folder of ready masks in place of SBD (default: SegmentationClassAug, where it is)",
    )
    parser.add_argument("--out", help="folder of the prepared set (default: VOC2012 itself)")
    parser.add_argument(
        "--difficult",
        choices=("keep", "drop"),
        default="keep",
        help="whether objects marked as difficult count in the image labels (keep, as usual)",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="take splits of any size and leave out what is missing or broken",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace masks, lists and labels that are there"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(4, os.cpu_count() or 1),
        help="processes; 0 for none but this one (one per core, at most 4)",
    )
    return parser.parse_args()


def main() -> None:
    """Prepare the set and say what it is."""
    args = parse_args()
    print(f"VOC 2012: {args.vocdevkit}", flush=True)
    from afa.datasets.prepare.voc12 import prepare_voc12
    from afa.datasets.prepare.voc12_sources import find_sources

    start = time.monotonic()
    sources = find_sources(args.vocdevkit, args.sbd, args.masks, args.out)
    print(f"Masks: {sources.sbd or sources.masks}", flush=True)
    report = prepare_voc12(
        sources,
        difficult=args.difficult,
        overwrite=args.overwrite,
        allow_partial=args.allow_partial,
        workers=args.workers,
        progress=Progress().show,
    )
    print(report.text())
    print(f"Ready in {time.monotonic() - start:.1f} s: {sources.out}")


if __name__ == "__main__":
    main_guard(main)

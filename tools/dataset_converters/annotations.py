"""Make labels.csv and masks of photos of your own from what an annotation tool exports."""

import argparse
import sys

from afa.files.annotation_kinds import KINDS
from afa.utils.cli import main_guard
from afa.utils.home import run_text
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Forms: " + "; ".join(f"{name}: {what}" for name, what in KINDS.items()),
    )
    parser.add_argument("annotations", help="file, or folder with the files of a form")
    parser.add_argument(
        "--photos",
        help="folder of the photos, where labels.csv and masks/ go (default: that of the "
        "annotations)",
    )
    parser.add_argument("--form", choices=KINDS, help="default: the files tell")
    parser.add_argument(
        "--keep-empty",
        action="store_true",
        help="take photos without a mark as photos without any class (default: leave them out)",
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="CLASS", help="classes that are not taken"
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="leave out photos with a fault"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace labels.csv and masks that are there"
    )
    return parser.parse_args()


def main() -> None:
    """Convert, and say what came of it."""
    args = parse_args()
    print(f"Annotations: {args.annotations}", flush=True)
    from afa.datasets.faults import Faults, raise_fault
    from afa.datasets.prepare.annotations import convert_annotations

    faults = Faults()
    report = convert_annotations(
        args.annotations,
        photos=args.photos,
        kind=args.form,
        keep_empty=args.keep_empty,
        leave_out=args.leave_out,
        overwrite=args.overwrite,
        report=faults if args.allow_partial else raise_fault,
        progress=Progress(unit="photos").show,
    )
    print(report.text())
    print(f"Next: {run_text('check')} CONFIG --cfg-options data_root=FOLDER (docs/own_data.md).")
    if faults.count:
        print("\n".join(["Left out:", *faults.lines(20)]), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main_guard(main)

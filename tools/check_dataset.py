"""Open all photos, labels and masks that a config names: `python tools/check_dataset.py CONFIG`."""

import argparse
import os
import sys

from afa.utils.cli import main_guard, parse_options
from afa.utils.progress import Progress

STAGES = ("train", "val", "test")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Open every photo, label and mask once, and list what is wrong.",
        epilog="Exit status: 0 the data are fit, 1 they are not, 2 the config or command is wrong.",
    )
    parser.add_argument("config", help="config file (.py)")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=STAGES,
        default=STAGES,
        help="loaders of the config whose data are checked (default: all that it has)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="processes that open photos; 0 for none beside this one (default: %(default)s)",
    )
    parser.add_argument(
        "--limit", type=int, default=20, help="most faults of a kind to list (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="write counts and all faults to this file")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="override config values, e.g. data_root=/path/to/set",
    )
    return parser.parse_args()


def main() -> None:
    """Check, print and write the report."""
    args = parse_args()
    if args.json and not os.path.isdir(os.path.dirname(args.json) or "."):
        raise ValueError(f"There is no folder for '{args.json}' (--json): make it first.")

    from afa.utils.environment import check_environment

    check_environment()

    from afa.datasets.check import check_datasets, report_lines, write_data_report
    from afa.engine.config import load_config
    from afa.engine.config.check import data_entries

    options = parse_options(args.cfg_options)
    cfg = load_config(args.config, options=options, count_classes=False)
    entries = data_entries(cfg, args.splits)
    report = check_datasets(entries, args.workers, Progress(unit="photos").show)
    print("\n".join(report_lines(report, args.limit)))
    if args.json:
        write_data_report(args.json, report, args.config)
    sys.exit(0 if report.fit else 1)


if __name__ == "__main__":
    main_guard(main)

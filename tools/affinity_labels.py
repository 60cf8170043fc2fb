"""Write the labels that AffinityNet learns from: `affinity_labels.py CONFIG MAPS --split train`."""

import argparse

from afa.utils.cli import (
    add_run_arguments,
    main_guard,
    own_command_line,
    parse_options,
    set_local_rank,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Turn CAMs into sure foreground, sure background and neutral pixels (255), by "
        "two backgrounds and the dense CRF; docs/pipelines.md tells more. What is finished is "
        "skipped."
    )
    add_run_arguments(parser)
    parser.add_argument("maps", help="folder of CAMs (pseudo_labels.py --kind cam --save-maps)")
    add = parser.add_argument
    add("--split", required=True, help="train, val, test, or a file with one image id per line")
    add(
        "--alphas",
        type=float,
        nargs=2,
        default=(4.0, 32.0),
        metavar=("LOW", "HIGH"),
        help="exponents of the background (default: 4 32, the authors' program; the paper 4 24)",
    )
    add("--out", metavar="DIR", help="folder (default: WORK_DIR/affinity_labels_SPLIT)")
    add("--no-crf", action="store_true", help="without the CRF")
    add("--crf-settings", nargs="+", metavar="KEY=VALUE", help="constants of the CRF, max_side")
    add(
        "--crf-workers",
        type=int,
        metavar="N",
        help="processes that compute CRFs and write files (default: the cores but one, at most 8)",
    )
    add("--evaluate", action="store_true", help="compare the labels with the masks")
    add("--overwrite", action="store_true", help="remove labels that are in the folder first")
    return parser.parse_args()


def main() -> None:
    """Make the labels."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.labels.options import MapLabelOptions
    from afa.labels.stages import AFFINITY_LABELS, make_affinity_labels

    same = ("split", "alphas", "out", "crf_workers", "evaluate", "overwrite", "launcher")
    options = MapLabelOptions(
        kind=AFFINITY_LABELS,
        crf=not args.no_crf,
        crf_settings=parse_options(args.crf_settings, "--crf-settings"),
        command=own_command_line(),
        **{name: getattr(args, name) for name in same},
    )
    cfg = load_config(args.config, work_dir=args.work_dir, options=parse_options(args.cfg_options))
    make_affinity_labels(cfg, args.maps, options)


if __name__ == "__main__":
    main_guard(main)

"""Write pseudo labels by AffinityNet: `random_walk.py CONFIG CHECKPOINT MAPS --split train`."""

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
        description="Spread CAMs along the affinity that AffinityNet has learned, and write label "
        "maps; docs/pipelines.md tells more. What is finished is skipped."
    )
    add_run_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint of AffinityNet: file, or hf://...")
    parser.add_argument("maps", help="folder of CAMs (pseudo_labels.py --kind cam --save-maps)")
    add = parser.add_argument
    add("--split", required=True, help="train, val, test, or a file with one image id per line")
    add("--alpha", type=float, default=16.0, help="exponent of the background (default: 16)")
    add("--out", metavar="DIR", help="folder (default: WORK_DIR/random_walk_SPLIT)")
    add("--save-maps", action="store_true", help="write the maps after the walk too")
    add(
        "--walked",
        metavar="DIR",
        help="folder of an earlier call with --save-maps: read its maps, run no network",
    )
    add("--crf", action="store_true", help="dense CRF after the walk")
    add("--crf-settings", nargs="+", metavar="KEY=VALUE", help="constants of the CRF, max_side")
    add(
        "--crf-workers",
        type=int,
        metavar="N",
        help="processes that compute CRFs and write files (default: 0; with --crf the cores but "
        "one, at most 8)",
    )
    add("--evaluate", action="store_true", help="compare the label maps with the masks")
    add(
        "--sweep",
        type=float,
        nargs="*",
        metavar="ALPHA",
        help="evaluate these exponents too, before the CRF (without values: 1 2 4 8 16 24 32)",
    )
    add("--overwrite", action="store_true", help="remove labels that are in the folder first")
    add("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    return parser.parse_args()


def main() -> None:
    """Make the labels."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.labels.options import MapLabelOptions
    from afa.labels.stages import RANDOM_WALK, make_random_walk_labels

    same = ("split", "out", "crf", "crf_workers", "evaluate", "sweep", "save_maps", "overwrite")
    options = MapLabelOptions(
        kind=RANDOM_WALK,
        alphas=(args.alpha,),
        crf_settings=parse_options(args.crf_settings, "--crf-settings"),
        launcher=args.launcher,
        device=args.device,
        command=own_command_line(),
        **{name: getattr(args, name) for name in same},
    )
    cfg = load_config(args.config, work_dir=args.work_dir, options=parse_options(args.cfg_options))
    make_random_walk_labels(cfg, args.checkpoint, args.maps, options, args.walked)


if __name__ == "__main__":
    main_guard(main)

"""Train a model: `python tools/train.py CONFIG`."""

import argparse

from afa.utils.cli import (
    add_run_arguments,
    add_tracker_argument,
    main_guard,
    parse_options,
    set_local_rank,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train a model as a config says.")
    add_run_arguments(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint; without a value (or with auto), from the newest good one "
        "in the work dir, or from the start if there is none",
    )
    parser.add_argument(
        "--iters",
        type=int,
        metavar="N",
        help="train for N iterations: phases, schedule, validations, checkpoints and pictures of "
        "the config move together. For P photos in batches of B about 8 P / B, as published, and "
        "4,000 at least (600 to see that it runs)",
    )
    add_tracker_argument(parser)
    parser.add_argument(
        "--amp", action="store_true", help="train in bfloat16 mixed precision (CPU or GPU)"
    )
    return parser.parse_args()


def main() -> None:
    """Build the runner and train."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.engine.dist import saying_what_was_lost
    from afa.engine.runner import build_runner
    from afa.engine.trackers import use_trackers

    options = parse_options(args.cfg_options)
    cfg = load_config(args.config, args.work_dir, options, iters=args.iters)
    cfg.launcher = args.launcher
    if args.tracker:
        use_trackers(cfg, args.tracker)
    with saying_what_was_lost():
        build_runner(cfg, stage="train", amp=args.amp, resume=args.resume).train()


if __name__ == "__main__":
    main_guard(main)

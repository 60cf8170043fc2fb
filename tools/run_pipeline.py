"""Run a multi-stage method: `python tools/run_pipeline.py CONFIG`."""

import argparse

from afa.utils.cli import add_tracker_argument, main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Run the stages of a multi-stage method. Finished ones are skipped, a stopped "
        "one goes on, one whose settings have changed begins anew."
    )
    parser.add_argument("config", help="pipeline config (.py), e.g. in configs/affinitynet")
    parser.add_argument("--work-dir", help="folder (work_dirs/<name of the config>)")
    parser.add_argument("--from", dest="first", metavar="STAGE", help="begin with this stage")
    parser.add_argument("--to", dest="last", metavar="STAGE", help="end with this stage")
    parser.add_argument("--list", action="store_true", help="show stages and their state, run none")
    parser.add_argument(
        "--num-processes", type=int, default=1, help="processes (GPUs) of this machine for a stage"
    )
    add_tracker_argument(parser)
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="for the configs of all stages, or of one: STAGE.KEY=VALUE",
    )
    return parser.parse_args()


def main() -> None:
    """Read the pipeline and run it."""
    args = parse_args()
    from afa.pipelines import load_pipeline

    pipeline = load_pipeline(
        args.config, args.work_dir, parse_options(args.cfg_options), args.num_processes
    )
    pipeline.trackers = args.tracker or []
    if not args.list:
        pipeline.run(args.first, args.last)
    print(pipeline.table())


if __name__ == "__main__":
    main_guard(main)

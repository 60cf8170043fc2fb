"""Train and test AFA on the built-in data set Shapes: `make demo`."""

import argparse

from afa.utils.cli import main_guard, own_command_line, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Generate Shapes, train AFA on it, test it, and write a summary with pictures."
    )
    parser.add_argument(
        "--work-dir", default="work_dirs/demo", help="folder for the results (work_dirs/demo)"
    )
    parser.add_argument(
        "--data-root", default="data/shapes", help="folder of the data (data/shapes)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (0)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="override config values, e.g. train_cfg.max_iters=30 custom_hooks.0.phases.pseudo=10",
    )
    return parser.parse_args()


def main() -> None:
    """Run the demo."""
    args = parse_args()
    options = parse_options(args.cfg_options)
    print("Starting (loading the libraries takes some seconds) ...", flush=True)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.apis.demo import run_demo

    run_demo(args.work_dir, args.data_root, args.seed, options, command=own_command_line())


if __name__ == "__main__":
    main_guard(main)

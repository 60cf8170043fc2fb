"""See what limits the propagated label: `propagation.py CONFIG CHECKPOINT`.

The CAMs walk along the learned affinity, raw attention, and the affinity of the true masks.
"""

import argparse

from afa.utils.cli import main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="See what limits the propagated label of AFA.")
    parser.add_argument("config", help="config file (.py) of an AFA model")
    parser.add_argument("checkpoint", help="checkpoint file (.pth)")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """Load the model, measure, print a table."""
    args = parse_args()
    from afa.apis.propagation import propagation_rows
    from afa.engine.config import load_config
    from afa.engine.runner import build_runner

    cfg = load_config(args.config, options=parse_options(args.cfg_options))
    cfg.load_from = args.checkpoint
    runner = build_runner(cfg, stage="test")
    runner.load_or_resume()
    print("| masks after | mIoU |\n|---|---|")
    for name, value in propagation_rows(runner).items():
        print(f"| {name} | {value:.1f} |")


if __name__ == "__main__":
    main_guard(main)

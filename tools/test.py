"""Test a model: `python tools/test.py CONFIG CHECKPOINT`."""

import argparse
import json
from pathlib import Path

from afa.utils.cli import add_run_arguments, main_guard, parse_options, set_local_rank


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Test a checkpoint as a config says.")
    add_run_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint file (.pth)")
    parser.add_argument(
        "--tta", action="store_true", help="test with tta_model and tta_pipeline of the config"
    )
    parser.add_argument("--out-json", help="write the metrics to this file as well")
    return parser.parse_args()


def main() -> None:
    """Build the runner and test."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.engine.runner import build_runner

    cfg = load_config(args.config, work_dir=args.work_dir, options=parse_options(args.cfg_options))
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    runner = build_runner(cfg, stage="test", tta=args.tta)
    metrics = runner.test()
    if args.out_json and runner.rank == 0:
        numbers = {key: float(value) for key, value in metrics.items()}
        Path(args.out_json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out_json).write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main_guard(main)

"""Test a model: `python tools/test.py [CONFIG] CHECKPOINT`."""

import argparse
import time
from pathlib import Path

from afa.utils.cli import add_run_arguments, main_guard, parse_options, set_local_rank


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Test a checkpoint as a config says; docs/testing.md tells more."
    )
    add_run_arguments(parser)
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="checkpoint file (.pth, .safetensors), or hf://OWNER/NAME/FILE of the Hugging Face "
        "hub; one of ours can be given alone: it carries its config",
    )
    parser.add_argument("--split", metavar="NAME", help="another list of images, e.g. test")
    parser.add_argument(
        "--tta", action="store_true", help="several scales with mirror images (test_cfg.tta)"
    )
    parser.add_argument(
        "--tta-merge", choices=("max", "mean"), help="how scales are merged (default: max)"
    )
    parser.add_argument("--crf", action="store_true", help="dense CRF as well (test_cfg.crf)")
    parser.add_argument(
        "--crf-workers",
        type=int,
        metavar="N",
        help="processes that compute CRFs (default: the cores but one, at most 8)",
    )
    parser.add_argument(
        "--format-only",
        action="store_true",
        help="measure nothing, write label maps; for VOC the server's archive",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for them (default: WORK_DIR/format-SPLIT)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace those of an earlier run")
    parser.add_argument("--out-json", metavar="FILE", help="write the figures to this file as well")
    return parser.parse_args()


def main() -> None:
    """Build the runner and test."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.checkpoints.carried_config import find_config
    from afa.engine.runner import build_runner
    from afa.engine.test_options import EvaluationOptions, write_report
    from afa.files.whole_file import write_json

    names = EvaluationOptions.__dataclass_fields__
    options = EvaluationOptions(**{name: getattr(args, name) for name in names})
    cfg, checkpoint = find_config(
        args.config, args.checkpoint, args.work_dir, parse_options(args.cfg_options)
    )
    cfg.launcher = args.launcher
    cfg.load_from = checkpoint
    cfg.resume = False
    runner = build_runner(cfg, stage="test", options=options)
    start = time.perf_counter()
    metrics = runner.test()
    if runner.rank != 0:
        return
    report = write_report(runner, metrics, options, time.perf_counter() - start)
    print(f"Figures, options and versions are in {report}.")
    if args.out_json:
        Path(args.out_json).parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out_json, metrics)
    if not metrics and not options.format_only:
        raise ValueError(
            "Nothing could be measured: the images have neither masks nor image labels; "
            "--format-only writes their label maps."
        )


if __name__ == "__main__":
    main_guard(main)

"""Compute a step again that was stopped: `python tools/analysis_tools/replay_step.py FILE`."""

import argparse

from afa.utils.cli import main_guard


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Compute the losses of a step again, from the file that a training wrote when "
        "a loss was NaN or infinite."
    )
    parser.add_argument("file", help="WORK_DIR/non_finite/iter_N_process_N.pth")
    parser.add_argument("--config", help="config of the run (.py), if the file carries none")
    return parser.parse_args()


def main() -> None:
    """Replay and print both."""
    args = parse_args()

    from afa.engine.config import load_config
    from afa.engine.step_dump import replay_step

    step = replay_step(args.file, load_config(args.config) if args.config else None)
    print(f"Iteration {step['iteration']}, process {step['process']}: {', '.join(step['images'])}")
    for name, value in step["replayed"].items():
        print(f"{name}: {value!r} (in the run: {step['losses'].get(name)!r})")


if __name__ == "__main__":
    main_guard(main)

"""Convert a checkpoint of the AFA authors' program to the names of this package."""

import argparse

from afa.utils.cli import main_guard


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The result fits configs/afa/*, and is meant for tools/test.py: the batch norms of "
        "its segmentation head hold biases, not statistics of a training.",
    )
    parser.add_argument("src", metavar="SRC", help="checkpoint of the authors' program")
    parser.add_argument("dst", metavar="DST", help="checkpoint to write (.pth)")
    return parser.parse_args()


def main() -> None:
    """Convert, and say what was written or what did not fit."""
    args = parse_args()
    from afa.models.converters.afa_official import convert_file

    num_weights = convert_file(args.src, args.dst)
    print(f"Wrote {num_weights} weights to {args.dst}.")


if __name__ == "__main__":
    main_guard(main)

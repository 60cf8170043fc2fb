"""Convert a checkpoint of the AffinityNet (PSA) authors' program to the names of this package."""

import argparse

from afa.utils.cli import main_guard


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="A classifier (with fc8) becomes a CAMClassifier, an affinity network (with f9) an "
        "AffinityNet, both on ResNet38. The backbone alone needs no conversion: init_cfg of "
        "ResNet38 reads the file as it is.",
    )
    parser.add_argument("src", metavar="SRC", help="checkpoint of the authors' program (.pth)")
    parser.add_argument("dst", metavar="DST", help="checkpoint to write (.pth)")
    return parser.parse_args()


def main() -> None:
    """Convert, and say what was written or what did not fit."""
    args = parse_args()
    from afa.models.converters.psa_official import convert_file

    model, num_weights = convert_file(args.src, args.dst)
    print(f"Wrote {num_weights} weights for {model} to {args.dst}.")


if __name__ == "__main__":
    main_guard(main)

"""Write label maps as COCO, CVAT, Label Studio or FiftyOne import them, to correct them there."""

import argparse

from afa.utils.cli import main_guard
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "labels", help="folder of label maps, or what pseudo_labels.py or predict.py wrote"
    )
    parser.add_argument("photos", help="folder of the photos that the labels were made of")
    parser.add_argument(
        "--form", choices=("coco", "cvat", "label-studio", "fiftyone"), required=True
    )
    parser.add_argument("--out", required=True, help="folder for the result")
    parser.add_argument(
        "--classes",
        help="names in the order of their values: cat,dog or classes.txt or labels.csv (default: "
        "what pseudo_labels.py and predict.py noted)",
    )
    parser.add_argument(
        "--polygons",
        action="store_true",
        help="outlines to be moved by their corners (default: each pixel, as runs)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.75,
        help="pixels that polygons are simplified by; 0 keeps each pixel (%(default)s)",
    )
    parser.add_argument(
        "--image-prefix",
        default="/data/local-files/?d=",
        help="what comes before the path of a photo in Label Studio (%(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder with files")
    return parser.parse_args()


def main() -> None:
    """Export, and say how to go on."""
    args = parse_args()
    from afa.datasets.prepare.export_labels import ExportOptions, export_labels

    options = ExportOptions(args.polygons, args.tolerance, args.image_prefix)
    count = export_labels(
        args.labels,
        args.photos,
        args.out,
        args.form,
        args.classes,
        options,
        args.overwrite,
        Progress(unit="label maps").show,
    )
    print(f"{count:,} label maps in {args.out}; corrected, annotations.py makes masks of them.")


if __name__ == "__main__":
    main_guard(main)

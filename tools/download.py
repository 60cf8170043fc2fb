"""Download VOC 2012 with SBD, COCO 2014, or ImageNet weights, as their publishers offer them."""

import argparse
from pathlib import Path

from afa.files.published_files import NEXT, PUBLISHED
from afa.utils.cli import main_guard
from afa.utils.progress import Progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Archives are kept in DATA/downloads; what is put there by hand is taken.",
    )
    parser.add_argument("what", nargs="+", choices=PUBLISHED, help="what to download")
    parser.add_argument("--data", default="data", help="folder of the data sets (%(default)s)")
    parser.add_argument("--weights", default="weights", help="folder of weights (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Download, check, unpack, and say what comes next."""
    args = parse_args()
    print(f"Downloading {', '.join(args.what)}", flush=True)
    from afa.utils.download import check_space, download, unpack

    data = Path(args.data)
    places = {
        file: Path(args.weights, file.save_as) if file.save_as else data / "downloads" / file.name
        for what in args.what
        for file in PUBLISHED[what]
    }
    check_space([*places.items()])
    for file, path in places.items():
        print(f"{path}: from {file.url}", flush=True)
        download(file, path, Progress(unit="MB").show)
        if file.unpack_to is not None:
            folder = data / file.unpack_to
            print(f"{path}: unpacking into {folder}", flush=True)
            if not unpack(path, folder):
                print(f"{path}: is unpacked already")
    for what in args.what:
        print(f"{what}: ready. {NEXT.get(what, '').format(data=data)}")


if __name__ == "__main__":
    main_guard(main)

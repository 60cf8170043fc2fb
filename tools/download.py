"""Download VOC 2012 with SBD, COCO 2014, ImageNet weights, or weights of the Hugging Face hub."""

import argparse
from pathlib import Path

from afa.files.published_files import PUBLISHED
from afa.utils.cli import main_guard
from afa.utils.home import run_text
from afa.utils.progress import Progress

HUB = "hf://"
# What comes next: the command that makes a ready set, and what it is given below the data.
NEXT = {
    "voc12": ("voc12", "{data}/VOCdevkit", "--sbd", "{data}/SBD"),
    "coco14-photos": ("coco14", "{data}/coco14"),
}


def _known(what: str) -> str:
    if what in PUBLISHED or what.startswith(HUB):
        return what
    names = ", ".join(PUBLISHED)
    raise argparse.ArgumentTypeError(
        f"invalid choice: '{what}' (choose from {names}, or hf://OWNER/NAME/FILE.safetensors)"
    )


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Archives are kept in DATA/downloads; what is put there by hand is taken.",
    )
    parser.add_argument(
        "what",
        nargs="+",
        type=_known,
        metavar=f"{{{','.join(PUBLISHED)},hf://OWNER/NAME/FILE}}",
        help="what to download; weights of the Hugging Face hub (hf://OWNER/NAME@REVISION/FILE for "
        "a certain state of them) go to its cache, from where every tool takes them by this name",
    )
    parser.add_argument("--data", default="data", help="folder of the data sets (%(default)s)")
    parser.add_argument("--weights", default="weights", help="folder of weights (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Download, check, unpack, and say what comes next."""
    args = parse_args()
    print(f"Downloading {', '.join(args.what)}", flush=True)
    from afa.utils.download import check_space, download, unpack

    names = [what for what in args.what if not what.startswith(HUB)]
    if len(names) < len(args.what):
        from afa.utils.hub import fetch

        for what in args.what:
            if what.startswith(HUB):
                print(f"{what}: ready, at {fetch(what).path}")
    data = Path(args.data)
    places = {
        file: Path(args.weights, file.save_as) if file.save_as else data / "downloads" / file.name
        for what in names
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
    for what in names:
        following = [part.format(data=data) for part in NEXT.get(what, ())]
        print(f"{what}: ready." + (f" Next: {run_text(*following)}" if following else ""))


if __name__ == "__main__":
    main_guard(main)

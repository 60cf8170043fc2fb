"""List configs by name, or print one: `python tools/misc/print_config.py [NAME]`."""

import argparse

from afa.utils.cli import main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="List the configs that afa brings, or print one with all that it inherits: as "
        "a file of your own, it is a start for an own recipe."
    )
    parser.add_argument(
        "name",
        nargs="?",
        default="",
        help="a config by name or path; or a part of names, to list those that have it",
    )
    parser.add_argument("--out", metavar="FILE.py", help="write the config to this file")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """List, or print."""
    args = parse_args()
    from afa.utils.home import config_names, is_config

    listed = [name for name in config_names() if args.name in name]
    if not is_config(args.name) and listed:
        print("\n".join(listed))
        return

    from afa.engine.config import load_config
    from afa.files.whole_file import write_text

    cfg = load_config(args.name, options=parse_options(args.cfg_options), count_classes=False)
    if args.out:
        write_text(args.out, cfg.pretty_text)
        print(f"Wrote {args.out}.")
    else:
        print(cfg.pretty_text)


if __name__ == "__main__":
    main_guard(main)

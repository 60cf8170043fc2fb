"""Show on a web page what a model makes of photos: `python tools/web.py [CONFIG] CHECKPOINT`."""

import argparse
from pathlib import Path

from afa.utils.cli import main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [CONFIG] CHECKPOINT [OPTIONS]",
        description="Serve a web page: drop photos, see segmentation, CAMs, labels and affinity.",
    )
    parser.add_argument(
        "config", help="config file (.py); not needed where the checkpoint carries it"
    )
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file (.pth)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1: this machine alone; 0.0.0.0: all that reach it)",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (8000)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the GPU if there is one)")
    parser.add_argument("--keep", type=int, default=20, help="photos that are kept (20)")
    parser.add_argument("--max-mb", type=float, default=30, help="largest file, in MB (30)")
    parser.add_argument(
        "--max-megapixels", type=float, default=50, help="largest photo, in megapixels (50)"
    )
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """Take the port, build the model, serve."""
    args = parse_args()
    from afa.utils.environment import check_environment

    check_environment()

    from afa.apis import init_model
    from afa.apis.web import WebOptions, open_socket, serve
    from afa.apis.web.server import check_packages
    from afa.engine.checkpoints.carried_config import find_config

    names = ("host", "port", "max_mb", "max_megapixels", "keep")
    options = WebOptions(**{name: getattr(args, name) for name in names})
    check_packages()
    listener = open_socket(options.host, options.port)  # before time is spent on the model
    cfg, checkpoint = find_config(
        args.config, args.checkpoint, options=parse_options(args.cfg_options)
    )
    model = init_model(cfg, checkpoint, args.device)
    serve(model, Path(checkpoint).name, options, listener)


if __name__ == "__main__":
    main_guard(main)

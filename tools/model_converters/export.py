"""Export a checkpoint: `python tools/model_converters/export.py CHECKPOINT OUT.onnx`."""

import argparse
from pathlib import Path

from afa.utils.cli import main_guard, parse_options

_KINDS = (".safetensors", ".onnx")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Write the weights of a checkpoint as safetensors, or its prediction as ONNX."
    )
    parser.add_argument("checkpoint", help="checkpoint file (.pth), or hf://OWNER/NAME/FILE")
    parser.add_argument("out", nargs="+", help="files to write: .safetensors, .onnx")
    parser.add_argument("--config", help="config file (.py), if the checkpoint carries none")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """Build the model and write each file."""
    args = parse_args()
    for out in map(Path, args.out):
        if out.suffix not in _KINDS:
            raise ValueError(f"'{out}' is neither {' nor '.join(_KINDS)}: name it so.")
        if out.exists() and not args.overwrite:
            raise ValueError(f"'{out}' is there already: give another name, or --overwrite.")

    from afa.apis import init_model
    from afa.apis.export import write_onnx, write_safetensors
    from afa.engine.checkpoints.carried_config import find_config

    given = (args.config, args.checkpoint) if args.config else (args.checkpoint, None)
    config, checkpoint = find_config(*given, options=parse_options(args.cfg_options))
    model = init_model(config, checkpoint, "cpu")
    for out in map(Path, args.out):
        if out.suffix == ".onnx":
            print(f"{out}: differs from torch by at most {write_onnx(model, out):.1e}")
        else:
            write_safetensors(model, out, config)
            print(f"{out}: {len(model.state_dict())} weights")


if __name__ == "__main__":
    main_guard(main)

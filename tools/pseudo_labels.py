"""Write pseudo labels: `pseudo_labels.py CONFIG CHECKPOINT --split train --kind par`."""

import argparse

from afa.utils.cli import (
    add_run_arguments,
    main_guard,
    own_command_line,
    parse_options,
    set_local_rank,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Write the label maps that a trained model makes of a split, as PNG, and "
        "evaluate them; docs/pseudo_labels.md tells more. What is finished is skipped."
    )
    add_run_arguments(parser)
    parser.add_argument(
        "checkpoint", help="checkpoint file (.pth, .safetensors), or hf://OWNER/NAME/FILE"
    )
    add = parser.add_argument
    add("--split", required=True, help="train, val, test, or a file with one image id per line")
    add("--kind", required=True, metavar="KIND", help="cam, par, propagated or seg")
    add("--out", metavar="DIR", help="folder (default: WORK_DIR/pseudo_labels_KIND_SPLIT)")
    add("--bkg-thr", type=float, metavar="X", help="background score (model.test_cfg.bkg_thr)")
    add(
        "--ignore-thr",
        type=float,
        nargs="*",
        metavar="X",
        help="HIGH LOW: two background scores, 255 in between (without values: as in training)",
    )
    add("--crf", action="store_true", help="dense CRF on the maps (constants: model.test_cfg.crf)")
    add(
        "--crf-workers",
        type=int,
        metavar="N",
        help="processes that compute CRFs and write files (default: 0; with --crf the cores but "
        "one, at most 8)",
    )
    add("--save-maps", action="store_true", help="write the maps of the present classes as well")
    add(
        "--predicted-labels",
        action="store_true",
        help="an image has the classes that the classifier predicts, not those of its image label",
    )
    add("--restrict", action="store_true", help="with seg: only the classes that the image has")
    add("--evaluate", action="store_true", help="compare the label maps with the masks")
    add(
        "--sweep",
        type=float,
        nargs="*",
        metavar="X",
        help="LOW HIGH STEP: evaluate these background scores too (without values: 0.05 0.95 0.05)",
    )
    add("--overwrite", action="store_true", help="remove labels that are in the folder first")
    add("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    return parser.parse_args()


def main() -> None:
    """Make the labels."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.labels.options import PseudoLabelOptions
    from afa.labels.stages import make_pseudo_labels

    names = [name for name in PseudoLabelOptions.__dataclass_fields__ if hasattr(args, name)]
    command = own_command_line()
    options = PseudoLabelOptions(**{name: getattr(args, name) for name in names}, command=command)
    cfg = load_config(args.config, work_dir=args.work_dir, options=parse_options(args.cfg_options))
    make_pseudo_labels(cfg, args.checkpoint, options)


if __name__ == "__main__":
    main_guard(main)

"""Find sub-categories of classes: `sub_categories.py CONFIG CHECKPOINT --split train`."""

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
        description="Cluster the images of each class by the features of a classifier (SC-CAM); "
        "docs/pipelines.md tells more. Features that are finished are not computed again."
    )
    add_run_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint of a classifier: file, or hf://...")
    add = parser.add_argument
    add("--split", required=True, help="train, val, test, or a file with one image id per line")
    add("--num-sub", type=int, default=10, help="sub-categories of a class (default: 10)")
    add("--seed", type=int, default=0, help="of the first cluster centres (default: 0)")
    add("--out", metavar="DIR", help="folder (default: WORK_DIR/sub_categories_SPLIT)")
    add("--overwrite", action="store_true", help="remove features that are in the folder first")
    add("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    return parser.parse_args()


def main() -> None:
    """Compute features and cluster them."""
    args = parse_args()
    set_local_rank(args.local_rank)

    from afa.utils.environment import check_environment

    check_environment()

    from afa.engine.config import load_config
    from afa.labels.options import SubCategoryOptions
    from afa.labels.sub_categories import make_sub_categories

    names = [name for name in SubCategoryOptions.__dataclass_fields__ if hasattr(args, name)]
    command = own_command_line()
    options = SubCategoryOptions(**{name: getattr(args, name) for name in names}, command=command)
    cfg = load_config(args.config, work_dir=args.work_dir, options=parse_options(args.cfg_options))
    make_sub_categories(cfg, args.checkpoint, options)


if __name__ == "__main__":
    main_guard(main)

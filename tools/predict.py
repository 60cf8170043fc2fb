"""Predict photos: `python tools/predict.py [CONFIG] CHECKPOINT PHOTO|FOLDER|GLOB...`."""

import argparse
import sys

from afa.utils.cli import main_guard, parse_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [CONFIG] CHECKPOINT PHOTO|FOLDER|PATTERN ... [OPTIONS]",
        description="Write label map, overlay with class names and figures of every photo.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        help="config file (.py), which is not needed where the checkpoint carries it; checkpoint "
        "file (.pth, .safetensors) or hf://OWNER/NAME/FILE; then photos, folders (with their "
        "sub-folders), or patterns in quotes",
    )
    parser.add_argument("--out", default="predictions", help="folder for the results (predictions)")
    parser.add_argument(
        "--kind",
        help="what the label map is made from: seg (the default, where the model segments), or "
        "cam, par, propagated: of the classes that the classifier finds",
    )
    parser.add_argument(
        "--cls-thr",
        type=float,
        metavar="X",
        help="probability above which the classifier finds a class (model.test_cfg.cls_thr, 0.5)",
    )
    parser.add_argument("--cam", action="store_true", help="also draw the CAM of each class found")
    parser.add_argument(
        "--labels", metavar="DOG,PERSON", help="draw the CAMs of these classes, not the predicted"
    )
    parser.add_argument("--crf", action="store_true", help="sharpen label maps by the dense CRF")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the GPU if there is one)")
    parser.add_argument(
        "--opacity", type=float, default=0.5, help="weight of the colours in overlays, 0..1 (0.5)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make again what is there")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def main() -> None:
    """Find the photos, build the model, predict."""
    args = parse_args()
    from afa.files.photo_search import find_photos, unread_photos
    from afa.utils.environment import check_environment
    from afa.utils.home import is_config

    check_environment()
    named = is_config(args.inputs[0])
    checkpoint, *patterns = args.inputs[named:] or [""]
    if not patterns:
        raise ValueError(
            "There is no photo among the arguments: give [CONFIG] CHECKPOINT, then photos, "
            "folders or patterns."
        )
    photos = find_photos(patterns, leave_out=args.out)
    unread = unread_photos(patterns, leave_out=args.out)

    from afa.apis import PredictOptions, init_model, predict_photos
    from afa.engine.checkpoints.carried_config import read_config

    labels = args.labels and tuple(name.strip() for name in args.labels.split(","))
    chosen = (args.cam, labels or None, args.crf, args.opacity, args.kind, args.cls_thr)
    options = PredictOptions(*chosen)
    cfg_options = parse_options(args.cfg_options)
    config = args.inputs[0] if named else read_config(checkpoint)
    model = init_model(config, checkpoint, args.device, cfg_options)
    summary = predict_photos(model, photos, args.out, options, args.overwrite)
    skipped = f", {summary.num_skipped} were there already" if summary.num_skipped else ""
    print(f"Predicted {summary.num_done} photos into {args.out}{skipped}.")
    if summary.note:
        print(summary.note)
    for path in unread:
        print(f"Left out: '{path}' is of a kind that is not read: convert it.", file=sys.stderr)
    if left_out := len(summary.left_out) + len(unread):
        total = len(photos) + len(unread)
        print(f"{left_out} of {total} photos were left out.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main_guard(main)

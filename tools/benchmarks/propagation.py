"""See what limits the propagated label: `propagation.py CONFIG CHECKPOINT`.

It is the learned affinity, or the token grid it lives on: the masks of the CAMs walk along the
learned affinity, along raw attention, and along the affinity that the true masks give on the same
grid. No learned affinity can be expected to do better than the last.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from afa.utils.cli import main_guard, parse_options

AFFINITIES = ("learned affinity", "raw attention", "true masks")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="See what limits the propagated label of AFA.")
    parser.add_argument("config", help="config file (.py) of an AFA model")
    parser.add_argument("checkpoint", help="checkpoint file (.pth)")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override the config")
    return parser.parse_args()


def propagation_rows(runner: Any) -> dict[str, float]:
    """Measure the labels made from CAMs over the test set.

    Args:
        runner: a runner of an AFA config with its checkpoint loaded; the test set has masks and
            image labels, which the labels made here use.

    Returns:
        What the masks went through to mIoU in percent, from one confusion matrix each.

    Raises:
        ValueError: if the model has no affinity head, or an image has no mask or no image label.
    """
    import torch

    from afa.evaluation.figures import confusion_matrix

    model, meta = runner.model, runner.test_dataloader.dataset.metainfo
    if getattr(model, "affinity_head", None) is None:
        raise ValueError("The config needs an AFA model with an affinity head.")
    num_classes = len(meta["classes"])
    counts: dict[str, Any] = {}
    model.eval()
    with torch.no_grad():
        for batch in runner.test_dataloader:
            data = model.data_preprocessor(batch, False)
            for i, sample in enumerate(data["data_samples"]):
                if "gt_label" not in sample or "gt_sem_seg" not in sample:
                    raise ValueError("Every image needs image labels and a mask.")
                image, truth = data["inputs"][i : i + 1], sample.gt_sem_seg.data
                for name, label in _labels(model, image, sample.gt_label, truth):
                    count = confusion_matrix(label[0], truth[0], num_classes)
                    counts[name] = counts.get(name, 0) + count
    return {name: _miou(count) for name, count in counts.items()}


def _labels(model: Any, image: Any, gt_label: Any, truth: Any) -> Iterator[tuple[str, Any]]:
    """Give the labels (1, H, W) of one image by the name of what the masks went through."""
    from afa.models.functional import (
        RandomWalk,
        SoftMaps,
        affinity_label,
        attention_affinity,
        label_of_masks,
        present_classes,
        resize_images,
        resize_maps,
        stacked_masks,
    )

    cfg, size = model.train_cfg, truth.shape[1:]
    class_idx = present_classes(gt_label[None])
    cams = model.cams_and_walk(image, class_idx)[0]
    refine, score = model.refinement(model.rgb_images(image)), [model.test_cfg.bkg_thr]

    def label(masks: Any) -> Any:
        return label_of_masks(masks, class_idx, size)

    maps = SoftMaps(cams, class_idx, refine)
    yield "CAM", label(maps("cam", score)[:, 0])
    yield "PAR", label(maps("par", score)[:, 0])
    scaled = resize_images(image, cfg.propagation_scale)
    feats, attn = model.backbone(scaled, with_attn=True)
    grid = tuple(feats[-1].shape[2:])
    same = (affinity_label(truth, grid, cfg.radius) == 1).float()
    affinities = (
        model.affinity_head(attn),
        attention_affinity(attn, model.backbone.head_dim),
        same,
    )
    tokens = resize_maps(stacked_masks(cams, class_idx, score, grid), image.shape[2:])
    yield "CAM on the token grid, PAR", label(refine(tokens))
    for name, affinity in zip(AFFINITIES, affinities, strict=True):
        walk = RandomWalk(affinity, grid, cfg.radius, cfg.power, cfg.num_steps)
        walked = SoftMaps(cams, class_idx, walk=walk).walked(score)
        yield name, label(walked)
        yield f"{name}, PAR", label(refine(walked))


def _miou(confusion: Any) -> float:
    """Mean IoU in percent, classes that occur nowhere left out."""
    from afa.evaluation.figures import areas

    intersect, union, *_ = areas(confusion)
    return round(100 * (intersect / union).nanmean().item(), 2)


def main() -> None:
    """Load the model, measure, print a table."""
    args = parse_args()
    from afa.engine.config import load_config
    from afa.engine.runner import build_runner

    cfg = load_config(args.config, options=parse_options(args.cfg_options))
    cfg.load_from = args.checkpoint
    runner = build_runner(cfg, stage="test")
    runner.load_or_resume()
    print("| masks after | mIoU |\n|---|---|")
    for name, value in propagation_rows(runner).items():
        print(f"| {name} | {value:.1f} |")


if __name__ == "__main__":
    main_guard(main)

"""What limits the propagated label: the learned affinity, or the token grid it lives on.

The masks of the CAMs walk along the learned affinity, along raw attention, and along the affinity
that the true masks give on the same grid: no learned affinity can be expected to do better.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner import Runner
from torch import Tensor

from afa.evaluation.confusion import areas, confusion_matrix
from afa.models.utils import (
    RandomWalk,
    SoftMaps,
    affinity_label,
    attention_affinity,
    present_classes,
    refined_label,
    resize_images,
    resize_maps,
    stacked_masks,
)

AFFINITIES = ("learned affinity", "raw attention", "true masks")


def propagation_rows(runner: Runner) -> dict[str, float]:
    """Measure the labels made from CAMs over the test set.

    Args:
        runner: a runner of an AFA config with its checkpoint loaded; the test set has masks and
            image labels, which the labels made here use.

    Returns:
        What the masks went through to mIoU in percent, from one confusion matrix each.

    Raises:
        ValueError: if the model has no affinity head, or an image has no mask or no image label.
    """
    model, meta = runner.model, runner.test_dataloader.dataset.metainfo
    if getattr(model, "affinity_head", None) is None:
        raise ValueError("The config needs an AFA model with an affinity head.")
    num_classes = len(meta["classes"])
    counts: dict[str, Tensor] = {}
    model.eval()
    for batch in runner.test_dataloader:
        data = model.data_preprocessor(batch, False)
        for i, sample in enumerate(data["data_samples"]):
            if "gt_label" not in sample or "gt_sem_seg" not in sample:
                raise ValueError("Every image needs image labels and a mask.")
            truth = sample.gt_sem_seg.data
            for name, label in _labels(model, data["inputs"][i : i + 1], sample.gt_label, truth):
                count = confusion_matrix(label[0], truth[0], num_classes)
                counts[name] = counts.get(name, 0) + count
    return {name: _miou(count) for name, count in counts.items()}


@torch.no_grad()
def _labels(
    model: Any, image: Tensor, gt_label: Tensor, truth: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Give the labels (1, H, W) of one image by the name of what the masks went through."""
    cfg, size = model.train_cfg, truth.shape[1:]
    class_idx = present_classes(gt_label[None])
    cams = model.compute_cams(image, class_idx)[0]
    refine, score = model._refine(image), [model.test_cfg.bkg_thr]

    def label(masks: Tensor) -> Tensor:
        return refined_label(masks, class_idx, size)

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


def _miou(confusion: Tensor) -> float:
    """Mean IoU in percent, classes that occur nowhere left out."""
    intersect, union, *_ = areas(confusion)
    return round(100 * (intersect / union).nanmean().item(), 2)

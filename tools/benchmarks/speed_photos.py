"""What the benchmark measures on real photos: loading, dense CRF, and evaluation of a set."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS
from mmseg.structures import SegDataSample

from afa.engine.config import load_config
from afa.files.crf import check_crf, crf_of_logits
from afa.files.photo import read_photo
from afa.models.functional import resize_maps, scale_size
from afa.models.functional.photo_size import possible_labels
from afa.utils.ordered_pool import OrderedPool
from plain_afa import (
    plain_cams,
    plain_encode,
    plain_masks,
    plain_refine,
    plain_seg_logits,
    plain_walk,
    walk_masks,
)
from speed_measure import Case, spread
from speed_parts import ROOT, Setup

RECIPE = "configs/afa/afa_mit-b1_2xb2-20k_voc12aug-512x512.py"
FIELDS = ("pred_label", "pred_cam", "pred_par", "pred_propagated", "pred_sem_seg")


def build_set(data_root: str, split: str = "val") -> Any:
    """Build a data set in VOC's layout with the recipe's pipeline.

    Args:
        data_root: folder with JPEGImages, SegmentationClassAug and ImageSets.
        split: ``'val'`` or ``'train'``.

    Returns:
        The data set.
    """
    import afa.datasets
    import afa.evaluation  # noqa: F401  registers both

    init_default_scope("mmseg")
    cfg = load_config(str(ROOT / RECIPE), options={"data_root": str(Path(data_root).resolve())})
    loader = cfg.val_dataloader if split == "val" else cfg.train_dataloader
    return DATASETS.build(loader.dataset)


def loading_times(data_root: str, num_photos: int) -> dict[str, Any]:
    """Time the steps of the training pipeline, one photo after the other, on one core.

    Args:
        data_root: see :func:`build_set`.
        num_photos: number of photos, the first ones of the training set.

    Returns:
        ``seconds`` a photo: ``decoding`` (JPEG to array), ``steps`` by name, ``total``.
    """
    dataset = build_set(data_root, "train")
    steps = dataset.pipeline.transforms
    times: dict[str, list[float]] = {type(step).__name__: [] for step in steps}
    decoding: list[float] = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in a worker
    try:
        for index in range(min(num_photos, len(dataset))):
            results = dataset.get_data_info(index)
            begin = time.perf_counter()
            read_photo(results["img_path"])
            decoding.append(time.perf_counter() - begin)
            for step in steps:
                begin = time.perf_counter()
                results = step(results)
                times[type(step).__name__].append(time.perf_counter() - begin)
    finally:
        cv2.setNumThreads(threads)
    every = [sum(parts) for parts in zip(*times.values(), strict=True)]
    return dict(
        title="Data: training pipeline of one photo, one core",
        ours=spread(every),
        notes=dict(
            photos=len(every),
            decoding=spread(decoding)["median"],
            steps={name: spread(values)["median"] for name, values in times.items()},
            mean=sum(every) / len(every),
        ),
    )


def crf_case(data_root: str, num_photos: int, processes: int) -> Case:
    """Dense CRF on photos: possible labels in processes, against all labels in this one.

    The probabilities are made up, three labels of 21 a photo as VOC has them on average.
    """
    check_crf()
    dataset = build_set(data_root, "val")
    generator = torch.Generator().manual_seed(0)
    photos, logits = [], []
    for index in range(min(num_photos, len(dataset))):
        photo = read_photo(dataset.get_data_info(index)["img_path"])
        photos.append(np.ascontiguousarray(photo[..., ::-1]))
        coarse = torch.randn(1, 3, 6, 8, generator=generator) * 3
        one = torch.full((21, 96, 128), -12.0)
        one[[0, 5, 15]] = F.interpolate(coarse, (96, 128), mode="bilinear")[0]
        logits.append(one)
    pool = OrderedPool(crf_of_logits, processes).__enter__()  # it ends with this process

    def ours() -> None:
        for photo, one in zip(photos, logits, strict=True):
            pool.submit(photo, one[possible_labels(one, 0.02)].numpy())
        list(pool)

    def plain() -> None:
        for photo, one in zip(photos, logits, strict=True):
            crf_of_logits(photo, one.numpy())

    return Case(
        f"Dense CRF, {len(photos)} photos, 3 of 21 labels, {processes} processes, "
        "against all labels in one",
        ours,
        plain,
        target=(5, 10),
        counted=False,
        notes=dict(processes=processes, cores=os.cpu_count()),
    )


def validation_case(setup: Setup, data_root: str, num_photos: int) -> Case:
    """Evaluation of a set with all figures in one pass, against one pass per figure.

    A pass of the reference computes only what its figure needs: the network for the image labels
    and for the segmentation; the CAMs by whole networks; PAR; the random walk and PAR.
    """
    dataset = build_set(data_root, "val")
    setup.model.test_cfg = type(setup.model.test_cfg)(pseudo_labels=True)
    num_photos = min(num_photos, len(dataset))

    def ours() -> None:
        metrics = [_metric(field, dataset) for field in FIELDS]
        for index in range(num_photos):
            with setup.autocast():
                results = setup.model.test_step(pseudo_collate([dataset[index]]))
            for metric in metrics:
                metric.process({}, [sample.to_dict() for sample in results])

    def plain() -> None:
        for field in FIELDS:
            metric = _metric(field, dataset)
            for index in range(num_photos):
                data = pseudo_collate([dataset[index]])
                batch = setup.model.data_preprocessor(data, False)
                result = _plain_result(setup.model, batch, field)
                metric.process({}, [result.to_dict()])

    def evaluated(func: Any) -> Any:
        def run() -> None:
            setup.model.eval()
            try:
                with torch.no_grad():
                    func()
            finally:
                setup.model.train()

        return run

    return Case(
        f"Validation of {num_photos} photos, all figures in one pass, against one pass per figure",
        evaluated(ours),
        evaluated(plain),
        target=(2, 4),
        counted=False,
        budget=1.0,
        notes=dict(photos=num_photos),
    )


def _metric(field: str, dataset: Any) -> Any:
    kind = dict(type="WSSSIoUMetric", field=field, prefix=field)
    metric = METRICS.build(dict(type="MultiLabelMetric") if field == "pred_label" else kind)
    metric.dataset_meta = dataset.metainfo
    return metric


def _plain_result(model: Any, batch: dict, field: str) -> SegDataSample:
    """Compute one kind of label of one image the usual way, and nothing else."""
    inputs, sample = batch["inputs"], batch["data_samples"][0]
    size = sample.ori_shape
    feats, _ = plain_encode(model.backbone, inputs, False)
    seg = plain_seg_logits(model, feats)
    if field == "pred_label":
        sample.set_data(dict(pred_label=model.cls_head(feats[-1]).sigmoid()[0]))
        return sample
    if field == "pred_sem_seg":
        maps, names = seg, torch.arange(seg.shape[1])
    else:
        maps, names = _plain_masks(model, inputs, sample, field)
    maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    label = names.to(maps.device)[maps.argmax(dim=1)]
    sample.set_data({field: PixelData(data=label)})
    return sample


def _plain_masks(
    model: Any, inputs: torch.Tensor, sample: SegDataSample, field: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft masks (1, 1 + M, h, w) of one kind, and the label of each."""
    cfg, labels = model.train_cfg, sample.gt_label[None]
    cams, affinities = plain_cams(model, inputs, labels)
    present = torch.nonzero(labels[0])[:, 0]
    affinity, grid = affinities[cfg.propagation_scale]
    half = scale_size(inputs.shape[2:], cfg.refine_scale)
    sizes = dict(pred_cam=None, pred_par=half, pred_propagated=grid)
    masks = plain_masks(cams[0, present], model.test_cfg.bkg_thr, sizes[field])
    if field == "pred_propagated":
        walk = plain_walk(affinity[0], grid, cfg.radius, cfg.power)
        masks = resize_maps(walk_masks(masks, walk), inputs.shape[2:])
    if field != "pred_cam":
        masks = plain_refine(model, model.rgb_images(inputs), masks)
    return masks, F.pad(present + 1, (1, 0))

"""Sub-categories of the classes of a split, over processes, resumable (SC-CAM).

Chang et al., CVPR 2020: each photo is described by the pooled features of a classifier, and those
of a class are clustered by k-means. D channels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from afa.apis.feature_folder import FeatureFolder
from afa.apis.inference import init_model
from afa.apis.label_folder import SUMMARY
from afa.apis.label_items import Items
from afa.apis.pseudo_label_run import loader_workers
from afa.apis.pseudo_label_settings import config_digest, file_digest
from afa.apis.pseudo_labels import TIMEOUT
from afa.apis.split_data import SPLITS, SplitData
from afa.apis.summary import device_name
from afa.datasets.sub_labels import name_sub_labels, write_sub_labels
from afa.engine.dist import first_process, init_dist
from afa.models.utils.sub_categories import cluster_sub_categories
from afa.utils.files import write_json
from afa.utils.progress import Progress, time_text

SUB_LABELS = "sub_labels.json"


@dataclass(frozen=True)
class SubCategoryOptions:
    """What a user asks of the clustering.

    Args:
        split: ``'train'``, ``'val'``, ``'test'`` or a file with one image id per line.
        num_sub: sub-categories of a class, K_sub.
        seed: of the first cluster centres.
        out: folder; None for one in the work dir.
        overwrite: replace features that are there.
        launcher: how processes are started.
        device: where the network runs; None for the GPU if there is one.
        command: the command line, for the summary.

    Raises:
        ValueError: if a number is out of range.
    """

    split: str
    num_sub: int = 10
    seed: int = 0
    out: str | None = None
    overwrite: bool = False
    launcher: str = "none"
    device: str | None = None
    command: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.num_sub < 1:
            raise ValueError(f"--num-sub must be 1 or more, got {self.num_sub}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be between 0 and 2^32 - 1, got {self.seed}.")


def make_sub_categories(
    cfg: Config, checkpoint: str | Path, options: SubCategoryOptions
) -> dict[str, Any]:
    """Compute features of a split's photos, cluster them, and write ``sub_labels.json``.

    Args:
        cfg: config of a classifier, with the data set.
        checkpoint: its checkpoint file.
        options: what to make.

    Returns:
        The content of summary.json.

    Raises:
        FileNotFoundError: if the checkpoint is not there.
        ValueError: if config, checkpoint, data and options do not fit, or a photo cannot be read.
    """
    start = time.monotonic()
    init_dist(options.launcher, timeout=TIMEOUT)
    model = init_model(cfg, checkpoint, options.device)
    if not hasattr(model, "image_features"):
        raise ValueError(
            f"Sub-categories need a classifier (CAMClassifier), but this model is "
            f"{type(model).__name__}: give config and checkpoint of the classifier."
        )
    data = SplitData(model.cfg, options.split)
    if not data.has_labels:
        raise ValueError("Sub-categories belong to classes: the data set needs image_labels.")
    name = options.split if options.split in SPLITS else Path(options.split).stem
    out = options.out or Path(model.cfg.work_dir) / f"sub_categories_{name}"
    folder = FeatureFolder(out, data.ids)
    settings = dict(
        tool="sub_categories",
        version=1,
        checkpoint=f"{Path(checkpoint).name}, sha256 {file_digest(Path(checkpoint))}",
        model=config_digest(model.cfg.model),
        test_pipeline=config_digest(data.pipeline),
    )
    missing = first_process(partial(folder.prepare, settings, options.overwrite))
    _compute(model, data, folder, missing, loader_workers(model.cfg))
    dist.barrier()
    return first_process(partial(_cluster, data, folder, options, settings, start))


def _compute(
    model: nn.Module, data: SplitData, folder: FeatureFolder, missing: list[int], workers: int
) -> None:
    """Compute the features of this process's share of the missing parts."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    total = sum(len(folder.parts[part]) for part in missing)
    if rank == 0:
        known = len(data) - total
        print(f"Features of {len(data)} images: {known} are finished, {total} to compute.")
    progress = Progress(total, active=rank == 0)
    per_part = len(folder.parts[0])
    share = missing[rank::world_size]
    indices = [part * per_part + i for part in share for i in range(len(folder.parts[part]))]
    rows: list[np.ndarray] = []
    parts = iter(share)
    part = next(parts, None)
    for _, packed, problem in Items(data.packed, indices).loader(workers):
        if problem is not None:
            raise ValueError(problem)
        assert part is not None, "there are as many images as the parts of this process have"
        inputs = model.data_preprocessor(pseudo_collate([packed]), False)["inputs"]
        rows.append(model.image_features(inputs)[0].cpu().numpy())
        if len(rows) == len(folder.parts[part]):
            folder.write(part, np.stack(rows))
            rows, part = [], next(parts, None)
        progress.step(min(world_size, total - progress.done))


def _cluster(
    data: SplitData,
    folder: FeatureFolder,
    options: SubCategoryOptions,
    settings: Mapping[str, Any],
    start: float,
) -> dict[str, Any]:
    """Cluster the features of each class and write what came of it."""
    labels = np.stack([data.image_label(index) for index in range(len(data))])
    sub = cluster_sub_categories(folder.read(), labels, options.num_sub, options.seed)
    path = folder.path / SUB_LABELS
    write_sub_labels(path, name_sub_labels(data.ids, data.classes, sub))
    sizes = {
        name: np.bincount(sub[:, k][sub[:, k] >= 0], minlength=options.num_sub)
        for k, name in enumerate(data.classes[1:])
    }
    for name, counts in sizes.items():
        print(f"  {name}: {' '.join(map(str, counts))} images")
    seconds = time.monotonic() - start
    content = dict(
        settings=dict(settings),
        split=options.split,
        num_sub=options.num_sub,
        seed=options.seed,
        num_images=len(data),
        images_of_sub_category=sizes,
        seconds=round(seconds, 1),
        num_processes=dist.get_world_size(),
        device=device_name(),
        command=options.command,
    )
    write_json(folder.path / SUMMARY, content)
    print(f"Done in {time_text(seconds)}; the sub-categories are in '{path}'.")
    return content

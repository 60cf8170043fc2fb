"""Sub-categories of the classes of a split, over processes, resumable (SC-CAM).

Chang et al., CVPR 2020: each photo is described by the pooled features of a classifier, and those
of a class are clustered by k-means. D channels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from afa.apis.inference import init_model
from afa.datasets.image_labels import name_sub_labels, write_sub_labels
from afa.files.maps import read_features, write_features
from afa.files.whole_file import write_json
from afa.labels.folder import SUMMARY, GuardedFolder, content_digests
from afa.labels.options import SubCategoryOptions
from afa.labels.run import SharedProgress, begin, say
from afa.labels.split import SplitData, prepared, split_name
from afa.models.functional.sub_categories import cluster_sub_categories
from afa.utils.environment import device_name
from afa.utils.first_process import first_process
from afa.utils.progress import time_text

SUB_LABELS = "sub_labels.json"


def make_sub_categories(
    cfg: Config, checkpoint: str | Path, options: SubCategoryOptions
) -> dict[str, Any]:
    """Compute features of a split's photos, cluster them, and write ``sub_labels.json``.

    Args:
        cfg: config of a classifier, with the data set.
        checkpoint: its checkpoint file.
        options: what to make.

    Returns:
        the content of summary.json.

    Raises:
        FileNotFoundError: if the checkpoint is not there.
        ValueError: if config, checkpoint, data and options do not fit, or a photo cannot be read.
    """
    start = begin(options)
    model = init_model(cfg, checkpoint, options.device)
    if not hasattr(model, "image_features"):
        raise ValueError(
            f"Sub-categories need a classifier (CAMClassifier), but this model is "
            f"{type(model).__name__}: give config and checkpoint of the classifier."
        )
    data = SplitData(model.cfg, options.split)
    if not data.has_labels:
        raise ValueError("Sub-categories belong to classes: the data set needs image_labels.")
    out = Path(model.cfg.work_dir) / f"sub_categories_{split_name(options.split)}"
    folder = FeatureFolder(options.out or out, data.ids)
    settings = dict(
        tool="sub_categories",
        version=1,
        **content_digests(data.pipeline, checkpoint, model.cfg.model),
    )
    first_process(partial(folder.prepare, settings, options.overwrite))
    _compute(model, data, folder, first_process(folder.missing))
    dist.barrier()
    return first_process(partial(_cluster, data, folder, options, settings, start))


def _compute(model: nn.Module, data: SplitData, folder: FeatureFolder, missing: list[int]) -> None:
    """Compute the features of this process's share of the missing parts."""
    total, per_part = sum(len(folder.parts[part]) for part in missing), len(folder.parts[0])
    say(f"Features of {len(data)} images: {len(data) - total} are finished, {total} to compute.")
    progress = SharedProgress(total)
    share = missing[dist.get_rank() :: dist.get_world_size()]
    indices = [part * per_part + i for part in share for i in range(len(folder.parts[part]))]
    items = prepared(data.dataset.__getitem__, indices, data.num_workers)
    for part in share:
        rows = []
        for _, packed in islice(items, len(folder.parts[part])):
            inputs = model.data_preprocessor(pseudo_collate([packed]), False)["inputs"]
            rows.append(model.image_features(inputs)[0].cpu().numpy())
            progress.step()
        folder.write(part, np.stack(rows))


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


class FeatureFolder(GuardedFolder):
    """Name, write and read the features of a list of images, some images to a file.

    ::

        settings.json        how the features were made
        features/00000.npz   arrays ``ids`` and ``features`` (n, D) float32 of the first images

    Args:
        path: the folder; need not be there yet.
        img_ids: the images.
        per_file: how many images share a file.
    """

    folders = {"features": ".npz"}
    holds = "features of another checkpoint or config"

    def __init__(self, path: str | Path, img_ids: Sequence[str], per_file: int = 64) -> None:
        super().__init__(path)
        self.parts = [
            list(img_ids[start : start + per_file]) for start in range(0, len(img_ids), per_file)
        ]

    def missing(self) -> list[int]:
        """List the parts that are missing, broken, or of other images."""
        return [part for part in range(len(self.parts)) if self._read(part) is None]

    def write(self, part: int, features: np.ndarray) -> None:
        """Write the features (n, D) of a part; the file is there whole or not at all."""
        write_features(self._file(part), self.parts[part], features)

    def read(self) -> np.ndarray:
        """Read the features of all images, (n, D) float32.

        Raises:
            ValueError: if some are missing.
        """
        read = [self._read(part) for part in range(len(self.parts))]
        found = [one for one in read if one is not None]
        if len(found) != len(read) or len({one.shape[1] for one in found}) != 1:
            raise ValueError(
                f"Features in '{self.path}' have gone or are broken: run the same command again."
            )
        return np.concatenate(found)

    def _file(self, part: int) -> Path:
        return self.path / "features" / f"{part:05d}.npz"

    def _read(self, part: int) -> np.ndarray | None:
        """Read a part; None where it is missing, broken, or of other images."""
        return read_features(self._file(part), self.parts[part])

"""Affinity labels: sure foreground, sure background, and the rest neutral.

Ahn and Kwak, CVPR 2018, section 3.2.2: with a low exponent the background (1 - max CAM)^alpha is
strong, and what remains foreground is sure; with a high one it is weak, and what is background is
sure. Each is sharpened by the dense CRF first. The exponents are 4 and 24 in the paper, 4 and 32 in
the released program. M classes of an image, h w of its CAMs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor

from afa.apis.label_maker import MapsOfImage
from afa.apis.map_folder import MapFolder
from afa.apis.map_stage import run_map_stage
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.pseudo_labels import TIMEOUT
from afa.apis.split_data import SplitData
from afa.engine.dist import init_dist
from afa.models.utils import power_background

KIND = "affinity_labels"


class AffinityLabelMaker:
    """Put backgrounds beside the CAMs of an image.

    Args:
        maps: the CAMs.
        alphas: LOW and HIGH exponent of the background.
        num_classes: C, with the background.
    """

    source = "maps"

    def __init__(self, maps: MapFolder, alphas: Sequence[float], num_classes: int) -> None:
        self.maps = maps
        self.scores = tuple(alphas)
        self.num_classes = num_classes

    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image, those of the low exponent first."""
        class_idx, cams = maps_of(packed, self.maps, self.num_classes)

        def make(alphas: Sequence[float]) -> Tensor:
            masks = [torch.cat([power_background(cams, a), cams], dim=1) for a in alphas]
            return torch.stack(masks, dim=1)

        return MapsOfImage(class_idx, list(make(self.scores).unbind(1)), make=make)


def maps_of(packed: dict[str, Any], maps: MapFolder, num_classes: int) -> tuple[Tensor, Tensor]:
    """Read the maps of a photo that a test pipeline has packed.

    Args:
        packed: what the pipeline gives; its meta data have ``img_id`` and ``ori_shape``.
        maps: the CAMs, or maps after the walk.
        num_classes: C, with the background.

    Returns:
        (1, M) foreground classes 0..K-1, -1 for the background, and (1, M, h, w) maps in 0..1.

    Raises:
        ValueError: if there are none for it.
    """
    meta = packed["data_samples"].metainfo
    img_id = meta.get("img_id", Path(meta["img_path"]).stem)
    found = maps.read(img_id, meta["ori_shape"][:2], num_classes)
    class_idx = torch.tensor([found.classes], dtype=torch.int64) - 1
    return class_idx, torch.from_numpy(found.maps)[None]


def make_affinity_labels(cfg: Config, maps: str | Path, options: MapStageOptions) -> dict[str, Any]:
    """Write the affinity labels of a split: label maps with 255 for neutral pixels.

    Args:
        cfg: a config with the data set.
        maps: folder of the CAMs.
        options: what to make; two exponents.

    Returns:
        The content of summary.json.

    Raises:
        ValueError: if config, maps and options do not fit, or a photo cannot be read.
    """
    start = time.monotonic()
    init_dist(options.launcher, timeout=TIMEOUT)
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    data = SplitData(cfg, options.split, with_labels=False)
    maker = AffinityLabelMaker(MapFolder(maps), options.alphas, len(data.classes))
    return run_map_stage(cfg, maker, data, options, start, dict(version=1))

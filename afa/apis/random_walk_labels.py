"""Pseudo labels by AffinityNet's random walk.

Ahn and Kwak, CVPR 2018, section 3.3: CAMs and the background (1 - max)^alpha, averaged over the
cells of the affinity's grid, take t steps along the learned affinity, are resized to the photo,
perhaps sharpened by the dense CRF, and the best class counts. M classes of an image, T exponents,
P offsets, h w grid of the affinity. Different from the authors' program: it pads the photo to a
multiple of the stride; here the grid of an uneven photo has a cell more, and nothing is padded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from afa.apis.affinity_labels import maps_of
from afa.apis.inference import init_model
from afa.apis.label_maker import MapsOfImage
from afa.apis.map_folder import MapFolder
from afa.apis.map_stage import run_map_stage
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.pseudo_label_settings import config_digest, file_digest
from afa.apis.pseudo_labels import TIMEOUT
from afa.apis.split_data import SplitData
from afa.engine.dist import init_dist
from afa.models.utils import power_background

KIND = "random_walk"


class RandomWalkMaker:
    """Spread the CAMs of an image along its affinity.

    Args:
        model: has ``affinity(inputs)`` and ``propagate(maps, affinity)``, as
            :class:`afa.models.segmentors.AffinityNet`; in evaluation mode.
        maps: the CAMs.
        alphas: exponent of the background of the label maps.
        num_classes: C, with the background.
        sweep: further exponents; their backgrounds take the same walk.
    """

    source = "maps"

    def __init__(
        self,
        model: nn.Module,
        maps: MapFolder,
        alphas: Sequence[float],
        num_classes: int,
        sweep: Sequence[float] = (),
    ) -> None:
        self.model = model
        self.maps = maps
        self.scores = tuple(alphas)
        self.num_classes = num_classes
        self.alphas = [*alphas, *(alpha for alpha in sweep if alpha not in alphas)]

    @torch.no_grad()
    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image after the walk."""
        class_idx, cams = maps_of(packed, self.maps, self.num_classes)
        data = self.model.data_preprocessor(pseudo_collate([packed]), False)
        meta = data["data_samples"][0].metainfo
        if any(meta.get("img_padding_size") or ()):
            raise ValueError(
                "The random walk needs photos without padding: take size, size_divisor and "
                "test_cfg out of model.data_preprocessor, or give it no test_cfg."
            )
        affinity = self.model.affinity(data["inputs"])  # (1, P, h, w)
        class_idx, cams = class_idx.to(affinity.device), cams.to(affinity.device)
        backgrounds = [power_background(cams, alpha) for alpha in self.alphas]
        grid = F.interpolate(
            torch.cat([*backgrounds, cams], dim=1), size=affinity.shape[2:], mode="area"
        )
        walked = self.model.propagate(grid, affinity)  # (1, T + M, h, w): maps walk apart
        own, others = walked.split([len(self.alphas), cams.shape[1]], dim=1)

        def make(alphas: Sequence[float]) -> Tensor:
            kept = own[:, [self.alphas.index(alpha) for alpha in alphas], None]
            others_each = others[:, None].expand(-1, len(alphas), -1, -1, -1)
            return torch.cat([kept, others_each], dim=2)  # (1, T, 1 + M, h, w)

        masks = list(make(self.scores).unbind(1))
        return MapsOfImage(class_idx, masks, make=make, exact=True)


class WalkedMapReader:
    """Read the masks of an image that :class:`RandomWalkMaker` has made in an earlier call.

    Args:
        maps: the CAMs that have walked.
        walked: the maps after the walk.
        alphas: exponent of the background that has walked.
        num_classes: C, with the background.
    """

    source = "maps"

    def __init__(
        self, maps: MapFolder, walked: MapFolder, alphas: Sequence[float], num_classes: int
    ) -> None:
        self.maps = maps
        self.walked = walked
        self.scores = tuple(alphas)
        self.num_classes = num_classes

    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of an image."""
        labels, masks = maps_of(packed, self.walked, self.num_classes)
        return MapsOfImage(labels[:, 1:], [masks])


def make_random_walk_labels(
    cfg: Config,
    checkpoint: str | Path,
    maps: str | Path,
    options: MapStageOptions,
    walked: str | Path | None = None,
) -> dict[str, Any]:
    """Write the pseudo labels of a split that the random walk makes.

    Args:
        cfg: config of the affinity network, with the data set.
        checkpoint: its checkpoint file.
        maps: folder of the CAMs.
        options: what to make; one exponent.
        walked: folder of an earlier call with ``options.save_maps``, whose maps are read; None for
            the network and the walk.

    Returns:
        The content of summary.json.

    Raises:
        FileNotFoundError: if the checkpoint is not there.
        ValueError: if config, checkpoint, maps and options do not fit, or a photo cannot be read.
    """
    start = time.monotonic()
    init_dist(options.launcher, timeout=TIMEOUT)
    folder = MapFolder(maps)
    walked_folder = None if walked is None else MapFolder(walked, walked=True)
    if walked_folder is not None and (options.sweep is not None or options.save_maps):
        raise ValueError(
            "--walked reads the maps of one alpha: give --sweep and --save-maps to the call that "
            "makes them."
        )
    model = init_model(cfg, checkpoint, options.device)
    if not hasattr(model, "propagate"):
        raise ValueError(
            f"The random walk needs AffinityNet, but this model is {type(model).__name__}: give "
            "config and checkpoint of the affinity network."
        )
    data = SplitData(model.cfg, options.split, with_labels=False)
    num_classes, alphas = len(data.classes), options.alphas
    maker: RandomWalkMaker | WalkedMapReader
    if walked_folder is None:
        maker = RandomWalkMaker(model, folder, alphas, num_classes, options.sweep_scores)
    else:
        maker = WalkedMapReader(folder, walked_folder, alphas, num_classes)
    settings = dict(
        version=1,
        checkpoint=f"{Path(checkpoint).name}, sha256 {file_digest(Path(checkpoint))}",
        model=config_digest(model.cfg.model),
    )
    return run_map_stage(model.cfg, maker, data, options, start, settings, walked_folder)

"""Stages that turn the CAMs of a folder into label maps, over processes, resumable.

The work over the images, the folder and the figures are those of the pseudo labels; see
:mod:`afa.apis.pseudo_labels`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from mmengine.config import Config

from afa.apis.label_folder import SETTINGS, LabelFolder, settings_changed
from afa.apis.label_maker import MapsOfImage
from afa.apis.map_folder import MapFolder
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.pseudo_label_run import (
    LabelRun,
    images_with_mask,
    loader_workers,
    mean_classes,
)
from afa.apis.pseudo_label_settings import config_digest
from afa.apis.pseudo_labels import make_labels
from afa.apis.split_data import SPLITS, SplitData
from afa.utils.crf import check_crf


class MapsToLabels(Protocol):
    """What makes the masks of an image from its CAMs; see :class:`MapStageRun`."""

    maps: MapFolder
    scores: tuple[float, ...]
    source: str

    def __call__(self, packed: dict[str, Any], image_label: np.ndarray | None) -> MapsOfImage:
        """Give the masks of one image, as :class:`afa.apis.label_maker.LabelMaker` does."""


@dataclass(frozen=True)
class MapStageRun(LabelRun):
    """A run whose ``maker`` reads CAMs; ``scores`` are exponents of the background."""

    score_name: ClassVar[str] = "alpha"

    @property
    def true_image_labels(self) -> bool | None:
        """Whether the CAMs are of true image labels; None where their folder does not say."""
        classes = self.maker.maps.settings.get("classes")
        return None if classes is None else str(classes).startswith("true")

    @property
    def statement(self) -> str:
        """Say which classes a label map can have."""
        known = {True: "true image labels", False: "predicted image labels", None: "not known"}
        return f"Label maps hold the classes of the CAMs ({known[self.true_image_labels]})."


def run_map_stage(
    cfg: Config,
    maker: MapsToLabels,
    data: SplitData,
    options: MapStageOptions,
    start: float,
    settings: Mapping[str, Any],
    walked: MapFolder | None = None,
) -> dict[str, Any]:
    """Write label maps of a split from CAMs, with figures if asked for, and a summary.

    Args:
        cfg: the config.
        maker: makes the masks of an image.
        data: the images.
        options: what to make.
        start: when the preparation began, by :func:`time.monotonic`.
        settings: what else decides the content of the label maps; what JSON can hold.
        walked: maps that an earlier call has kept and ``maker`` reads; they must be those that
            this call would make.

    Returns:
        The content of summary.json.

    Raises:
        ValueError: if data, maps and options do not fit.
    """
    if options.crf:
        check_crf()
    name = options.split if options.split in SPLITS else Path(options.split).stem
    out = options.out or Path(cfg.work_dir) / f"{options.kind}_{name}"
    folder = LabelFolder(out, options.kind)
    for img_id in data.ids:
        folder.file("labels", img_id)  # ids that lead out of it are refused before any work
    evaluates = options.evaluate or options.sweep is not None
    if evaluates:
        _refuse_labels_as_masks(data)
    crf = options.crf_constants
    decisive = dict(
        tool=options.kind,
        alphas=list(options.alphas),
        crf=None if crf is None else dict(crf, max_side=options.max_side),
        maps=config_digest(maker.maps.settings) if maker.maps.settings else "not known",
        test_pipeline=config_digest(data.pipeline),
        **settings,
    )
    decisive = json.loads(json.dumps(decisive))
    if walked is not None:
        _refuse_other_maps(walked, decisive, folder)
    run = MapStageRun(
        options=options,
        data=data,
        maker=maker,
        folder=folder,
        settings=decisive,
        crf=crf,
        max_side=options.max_side,
        masks=images_with_mask(data) if evaluates else frozenset(),
        mean_over=mean_classes(cfg),
        loader_workers=loader_workers(cfg),
    )
    return make_labels(run, start)


def _refuse_other_maps(walked: MapFolder, settings: Mapping[str, Any], folder: LabelFolder) -> None:
    """Stop where maps were made with other settings but the CRF, or would be overwritten."""
    if walked.path.parent.resolve() == folder.path.resolve():
        raise ValueError(
            f"--out and --walked are the same folder '{folder.path}': give another --out, so that "
            "the maps are kept."
        )
    changed = settings_changed(dict(walked.settings, crf=None), dict(settings, crf=None))
    if changed:
        raise ValueError(
            f"'{walked.path}' holds maps that were made with other settings ({changed}): make them "
            "anew, or leave --walked out."
        )


def _refuse_labels_as_masks(data: SplitData) -> None:
    """Stop an evaluation against label maps that a stage has made."""
    folder = Path(data.dataset.data_prefix.get("seg_map_path") or "")
    if folder.name and (folder.parent / SETTINGS).is_file():
        raise ValueError(
            f"--evaluate and --sweep compare with masks, but '{folder}' holds labels that one of "
            f"our tools has made: set {data.split}_dataloader.dataset.data_prefix.seg_map_path "
            "to the folder of the masks."
        )

"""Gather what a call of the pseudo labels needs, and what decides the content of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from afa.apis.inference import init_model
from afa.apis.label_folder import LabelFolder
from afa.apis.label_maker import SEG, LabelMaker
from afa.apis.pseudo_label_options import PseudoLabelOptions, check_scores
from afa.apis.pseudo_label_settings import label_settings
from afa.apis.result_crf import LABEL_THR, MAX_SIDE
from afa.apis.split_data import SPLITS, SplitData
from afa.utils.crf import check_crf

STATEMENTS = dict(
    image="True image labels WERE used: a label map holds only classes that its image really has, "
    "so that figures do not compare with those of a prediction.",
    predicted="True image labels were NOT used: a label map holds classes that the classifier "
    "predicts (probability above {thr:g}).",
    all="True image labels were NOT used: any class may appear.",
)


@dataclass(frozen=True)
class LabelRun:
    """What a call needs; the same in all its processes.

    Args:
        options: What to make: PseudoLabelOptions, or those of a later stage.
        data: The images.
        maker: Makes their maps: a LabelMaker, or what reads those of an earlier stage.
        folder: Where the files go.
        settings: What decides their content.
        crf: Constants of the CRF; None for none.
        max_side: Longest side of the photo that the CRF is computed at.
        masks: The images that have a mask, where figures are wanted.
        mean_over: Names of the classes that enter mIoU; None for all.
        loader_workers: Data workers of each process.
    """

    options: Any
    data: SplitData
    maker: Any
    folder: LabelFolder
    settings: dict[str, Any]
    crf: dict[str, Any] | None
    max_side: int
    masks: frozenset[int]
    mean_over: tuple[str, ...] | None
    loader_workers: int

    score_name: ClassVar[str] = "background score"  # what a sweep goes over

    @property
    def true_image_labels(self) -> bool | None:
        """Whether true image labels were used; None where that is not known."""
        return self.maker.source == "image"

    @property
    def statement(self) -> str:
        """Say whether true image labels were used."""
        thr = getattr(self.maker.model.test_cfg, "cls_thr", 0.5)
        return STATEMENTS[self.maker.source].format(thr=thr)

    def sweep_scores(self, index: int) -> list[float]:
        """Background scores at which an image is counted; empty where it has no mask."""
        return self.options.sweep_scores if index in self.masks else []

    def is_finished(self, index: int) -> bool:
        """Tell whether all files of an image are there."""
        scores = self.sweep_scores(index)
        return self.folder.is_finished(self.data.ids[index], self.options.save_maps, scores)


def prepare_run(cfg: Config, checkpoint: str | Path, options: PseudoLabelOptions) -> LabelRun:
    """Load model and data, and check that they fit the options.

    Args:
        cfg: The config.
        checkpoint: The checkpoint file.
        options: What to make.

    Raises:
        FileNotFoundError: If the checkpoint is not there.
        ValueError: If config, checkpoint, data and options do not fit.
    """
    if options.crf:
        check_crf()
    model = init_model(cfg, checkpoint, options.device)
    source = _wanted_source(options)
    data = _split_data(model.cfg, options.split, with_labels=source == "image")
    if source == "image" and not data.has_labels:
        source = "predicted"
    crf = dict(getattr(model.test_cfg, "crf", None) or {})
    label_thr, max_side = crf.pop("label_thr", LABEL_THR), crf.pop("max_side", MAX_SIDE)
    constants = MODELS.build(dict(crf, type="DenseCRF")).settings if options.crf else None
    scores = background_scores(options, model)
    maker = LabelMaker(model, options.kind, scores, source, label_thr)
    name = options.split if options.split in SPLITS else Path(options.split).stem
    out = options.out or Path(cfg.work_dir) / f"pseudo_labels_{options.kind}_{name}"
    folder = LabelFolder(out)
    for img_id in data.ids:
        folder.file("labels", img_id)  # ids that lead out of it are refused before any work
    evaluates = options.evaluate or options.sweep is not None
    return LabelRun(
        options=options,
        data=data,
        maker=maker,
        folder=folder,
        settings=label_settings(options, maker, data, Path(checkpoint), constants, max_side),
        crf=constants,
        max_side=max_side,
        masks=images_with_mask(data) if evaluates else frozenset(),
        mean_over=mean_classes(model.cfg),
        loader_workers=loader_workers(model.cfg),
    )


def images_with_mask(data: SplitData) -> frozenset[int]:
    """Find the images that figures can be given for.

    Raises:
        ValueError: If there is none.
    """
    masks = frozenset(i for i in range(len(data)) if data.has_mask(i))
    if not masks:
        raise ValueError(
            f"--evaluate and --sweep need masks, but no image of '{data.split}' has one "
            "(data_prefix.seg_map_path of the data set): leave them out."
        )
    return masks


def _split_data(cfg: Config, split: str, with_labels: bool) -> SplitData:
    try:
        return SplitData(cfg, split, with_labels)
    except ValueError as error:
        if "Image without labels" not in str(error):
            raise
        raise ValueError(f"{error} --predicted-labels does without image labels.") from error


def _wanted_source(options: PseudoLabelOptions) -> str:
    if options.predicted_labels:
        return "predicted"
    return "all" if options.kind == SEG and not options.restrict else "image"


def background_scores(options: PseudoLabelOptions, model: nn.Module) -> tuple[float, ...]:
    """Give the background score of the label maps, or the high and the low one.

    Raises:
        ValueError: If the training of the model has no two scores that could be taken.
    """
    if options.kind == SEG:
        return ()
    if options.ignore_thr is None:
        return (model.test_cfg.bkg_thr if options.bkg_thr is None else options.bkg_thr,)
    if options.ignore_thr:
        return tuple(options.ignore_thr)
    names = ("bkg_thr_high", "bkg_thr_low")
    train_cfg = getattr(model, "train_cfg", None)
    if not all(hasattr(train_cfg, name) for name in names):
        raise ValueError(
            f"{type(model).__name__} has no train_cfg.bkg_thr_high and bkg_thr_low to take: give "
            "--ignore-thr HIGH LOW."
        )
    scores = tuple(float(getattr(train_cfg, name)) for name in names)
    check_scores(scores)
    return scores


def mean_classes(cfg: Config) -> tuple[str, ...] | None:
    """Find the classes over which the evaluation of the config takes its mean; None for all."""
    for key in ("val_evaluator", "test_evaluator"):
        metrics = cfg.get(key) or []
        for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
            if metric.get("type") == "WSSSIoUMetric" and metric.get("classes"):
                return tuple(metric["classes"])
    return None


def loader_workers(cfg: Config) -> int:
    """Give the number of data workers that the evaluation of the config has, at most the cores."""
    loader = cfg.get("val_dataloader") or cfg.get("test_dataloader") or {}
    return min(int(loader.get("num_workers", 0)), os.cpu_count() or 1)

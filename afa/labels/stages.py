"""The stages that make label maps: from a network, from CAMs, and from CAMs by the random walk.

Each loads network and data, makes what turns an image into masks, says what decides the content of
the files, and carries out the run. The sub-categories of SC-CAM are in `sub_categories.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from afa.apis.inference import init_model
from afa.engine.config.load import import_components
from afa.labels.folder import SETTINGS, MapFolder, config_digest, content_digests, settings_changed
from afa.labels.makers import CAMBackgrounds, MapMasks, NetworkMasks, RandomWalkMasks, WalkedMasks
from afa.labels.options import MapLabelOptions, PseudoLabelOptions, check_scores
from afa.labels.run import LabelRun, begin, carry_out
from afa.labels.split import SplitData
from afa.models.functional import SEG
from afa.models.refiners.dense_crf import crf_of_model

AFFINITY_LABELS, RANDOM_WALK = "affinity_labels", "random_walk"


def make_pseudo_labels(
    cfg: Config, checkpoint: str | Path, options: PseudoLabelOptions
) -> dict[str, Any]:
    """Write the label maps that a network makes of a split, with figures if asked for.

    Args:
        cfg: the config.
        checkpoint: the checkpoint file.
        options: what to make.

    Returns:
        the content of summary.json.

    Raises:
        FileNotFoundError: if the checkpoint is not there.
        ValueError: if config, checkpoint, data and options do not fit, or a photo cannot be read.
    """
    start = begin(options)
    model = init_model(cfg, checkpoint, options.device)
    wanted = "all" if options.kind == SEG and not options.restrict else "image"
    wanted = "predicted" if options.predicted_labels else wanted
    try:
        data = SplitData(model.cfg, options.split, with_labels=wanted == "image")
    except ValueError as error:
        if "Image without labels" not in str(error):
            raise
        raise ValueError(f"{error} --predicted-labels does without image labels.") from error
    classes_from = "predicted" if wanted == "image" and not data.has_labels else wanted

    constants, label_thr, max_side = crf_of_model(model)
    crf = constants if options.crf else None
    scores = background_scores(options, model)
    maker = NetworkMasks(model, options.kind, scores, classes_from, label_thr)

    entering = dict(label_thr=label_thr) if classes_from == "all" else {}
    settings = dict(
        tool="pseudo_labels",
        version=1,  # raise when the same settings give other label maps
        kind=options.kind,
        background_scores=list(scores),
        classes=_classes(maker, data),
        crf=None if crf is None else dict(asdict(crf), max_side=max_side, **entering),
        **content_digests(data.pipeline, checkpoint, model.cfg.model),
    )
    out = f"pseudo_labels_{options.kind}"
    run = LabelRun(model.cfg, options, data, maker, settings, out, crf, max_side)
    return carry_out(run, start)


def background_scores(options: PseudoLabelOptions, model: nn.Module) -> tuple[float, ...]:
    """Give the background score of the label maps, or the high and the low one.

    Raises:
        ValueError: if the training of the model has no two scores that could be taken.
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


def _classes(maker: NetworkMasks, data: SplitData) -> str:
    """Say which classes an image can have; the folders above the image labels do not count."""
    if maker.classes_from == "image":
        path = getattr(data.dataset, "image_labels", None)
        return f"true image labels ({Path(path).name if path else type(data.dataset).__name__})"
    if maker.classes_from == "predicted":
        return f"predicted, probability above {maker.cls_thr:g}"
    return "all"


def make_affinity_labels(cfg: Config, maps: str | Path, options: MapLabelOptions) -> dict[str, Any]:
    """Write the affinity labels of a split: sure foreground, sure background, and 255 between.

    Config, folder of the CAMs and options (two exponents) as in :func:`make_random_walk_labels`.
    """
    start = begin(options)
    import_components(cfg)
    data = SplitData(cfg, options.split, with_labels=False)
    maker = CAMBackgrounds(MapFolder(maps), options.alphas, len(data.classes))
    run = _plan_from_maps(cfg, options, data, maker, content_digests(data.pipeline))
    return carry_out(run, start)


def make_random_walk_labels(
    cfg: Config,
    checkpoint: str | Path,
    maps: str | Path,
    options: MapLabelOptions,
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
        the content of summary.json.

    Raises:
        FileNotFoundError: if the checkpoint is not there.
        ValueError: if config, checkpoint, maps and options do not fit, or a photo cannot be read.
    """
    start = begin(options)
    cams = MapFolder(maps)
    kept = None if walked is None else MapFolder(walked, walked=True)
    if kept is not None and (options.sweep is not None or options.save_maps):
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
    maker: MapMasks
    if kept is None:
        maker = RandomWalkMasks(cams, alphas, num_classes, model, options.sweep_scores)
    else:
        maker = WalkedMasks(cams, alphas, num_classes, kept)
    digests = content_digests(data.pipeline, checkpoint, model.cfg.model)
    run = _plan_from_maps(model.cfg, options, data, maker, digests)
    if kept is not None:
        _refuse_other_maps(kept, run)
    return carry_out(run, start)


def _plan_from_maps(
    cfg: Config,
    options: MapLabelOptions,
    data: SplitData,
    maker: MapMasks,
    digests: Mapping[str, str],
) -> LabelRun:
    """Plan a run that starts from CAMs; ``digests`` are those of network and pipeline."""
    masks = Path(data.dataset.data_prefix.get("seg_map_path") or "")
    if options.wants_figures and masks.name and (masks.parent / SETTINGS).is_file():
        raise ValueError(
            f"--evaluate and --sweep compare with masks, but '{masks}' holds labels that one of "
            f"our tools has made: set {data.split}_dataloader.dataset.data_prefix.seg_map_path "
            "to the folder of the masks."
        )
    crf, cams = options.crf_constants, maker.cams.settings
    settings = dict(
        tool=options.kind,
        version=1,  # raise when the same settings give other label maps
        alphas=list(options.alphas),
        crf=None if crf is None else dict(asdict(crf), max_side=options.max_side),
        maps=config_digest(cams) if cams else "not known",
        **digests,
    )
    return LabelRun(cfg, options, data, maker, settings, options.kind, crf, options.max_side)


def _refuse_other_maps(walked: MapFolder, run: LabelRun) -> None:
    """Stop where maps were made with other settings but the CRF, or would be overwritten."""
    if walked.path.parent.resolve() == run.folder.path.resolve():
        raise ValueError(
            f"--out and --walked are the same folder '{run.folder.path}': give another --out, so "
            "that the maps are kept."
        )
    changed = settings_changed(dict(walked.settings, crf=None), dict(run.settings, crf=None))
    if changed:
        raise ValueError(
            f"'{walked.path}' holds maps that were made with other settings ({changed}): make them "
            "anew, or leave --walked out."
        )

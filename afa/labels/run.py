"""One run that makes the label maps of a split: its plan, and the loop over the images.

Every image is finished by one process; its files are whole or not there, and the label map is
written last. What is finished is skipped, so that the same command goes on after a stop. Nothing
that grows with the set is kept in memory but the list of its images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.config import Config

from afa.evaluation.threshold_sweep import write_counts
from afa.labels.finish import LabelJob, finish_label
from afa.labels.folder import LabelFolder
from afa.labels.makers import MapsOfImage, MaskMaker
from afa.labels.options import LabelOptions
from afa.labels.split import Item, Items, PhotoItem, SplitData, loader_workers, split_name
from afa.utils.first_process import first_process
from afa.utils.ordered_pool import OrderedPool
from afa.utils.progress import Progress

TIMEOUT = 7 * 24 * 3600  # a process that has less to do waits for the slowest one
_MAX_WORKERS = 8


@dataclass(frozen=True)
class LabelRun:
    """What a call needs; the same in all its processes.

    Args:
        options: what to make.
        data: the images.
        maker: makes their masks.
        folder: where the files go.
        settings: what decides their content.
        crf: constants of the CRF; None for none.
        max_side: longest side of the photo that the CRF is computed at.
        masks: the images that have a mask, where figures are wanted.
        mean_over: names of the classes that enter mIoU; None for all.
        loader_workers: data workers of each process.
    """

    options: LabelOptions
    data: SplitData
    maker: MaskMaker
    folder: LabelFolder
    settings: dict[str, Any]
    crf: dict[str, Any] | None
    max_side: int
    masks: frozenset[int]
    mean_over: tuple[str, ...] | None
    loader_workers: int

    def sweep_scores(self, index: int) -> list[float]:
        """Background scores at which an image is counted; empty where it has no mask."""
        return self.options.sweep_scores if index in self.masks else []

    def is_finished(self, index: int) -> bool:
        """Tell whether all files of an image are there."""
        scores = self.sweep_scores(index)
        return self.folder.is_finished(self.data.ids[index], self.options.save_maps, scores)


def plan_run(
    cfg: Config,
    options: LabelOptions,
    data: SplitData,
    maker: MaskMaker,
    settings: Mapping[str, Any],
    crf: dict[str, Any] | None,
    max_side: int,
    out: str,
) -> LabelRun:
    """Gather what a run needs; nothing is written yet.

    Args:
        cfg: the config.
        options: what to make.
        data: the images.
        maker: makes their masks.
        settings: what decides the content of a label map, but not which images there are.
        crf: constants of the CRF; None for none.
        max_side: longest side of the photo that the CRF is computed at.
        out: what the folder in the work dir is called, before the split.

    Raises:
        ValueError: if an id would lead out of the folder, or figures are wanted without masks.
    """
    folder = LabelFolder(options.out or Path(cfg.work_dir) / f"{out}_{split_name(options.split)}")
    for img_id in data.ids:
        folder.file("labels", img_id)  # ids that lead out of it are refused before any work
    return LabelRun(
        options=options,
        data=data,
        maker=maker,
        folder=folder,
        settings=json.loads(json.dumps(settings)),
        crf=crf,
        max_side=max_side,
        masks=data.images_with_mask() if options.wants_figures else frozenset(),
        mean_over=mean_classes(cfg),
        loader_workers=loader_workers(cfg),
    )


def mean_classes(cfg: Config) -> tuple[str, ...] | None:
    """Find the classes over which the evaluation of the config takes its mean; None for all."""
    for key in ("val_evaluator", "test_evaluator"):
        metrics = cfg.get(key) or []
        for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
            if metric.get("type") == "WSSSIoUMetric" and metric.get("classes"):
                return tuple(metric["classes"])
    return None


def make_labels(run: LabelRun) -> int:
    """Make the files of all images that are not finished, this process its share of them.

    Args:
        run: the run, the same in all processes.

    Returns:
        how many images all processes have made.

    Raises:
        ValueError: if a photo cannot be read, or the folder holds something else.
    """
    options = run.options
    pending = first_process(partial(_prepare_folder, run))
    _say(
        f"Labels of kind '{options.kind}' for {len(run.data)} images ({options.split}) in "
        f"'{run.folder.path}': {len(run.data) - len(pending)} are finished, {len(pending)} to make."
    )
    _say(run.maker.statement)
    _make(run, pending[dist.get_rank() :: dist.get_world_size()], len(pending))
    dist.barrier()
    return len(pending)


def _say(text: str) -> None:
    if dist.get_rank() == 0:
        print(text, flush=True)


def _prepare_folder(run: LabelRun) -> list[int]:
    """Make the folder ready and list the images that are not finished."""
    run.folder.prepare(run.settings, run.options.overwrite)
    run.folder.make_parents(run.data.ids)
    return [index for index in range(len(run.data)) if not run.is_finished(index)]


def _make(run: LabelRun, indices: list[int], total: int) -> None:
    """Make the files of this process's images."""
    options, world_size = run.options, dist.get_world_size()
    # The first process speaks for all: their shares are equal.
    progress = Progress(total, active=dist.get_rank() == 0)
    finish = partial(finish_label, palette=run.data.palette, crf=run.crf)
    prepare = PhotoItem(run.data, run.max_side if options.crf else None, bool(options.sweep_scores))
    try:
        with OrderedPool(finish, _num_workers(run)) as pool:
            for index, item, problem in Items(prepare, indices).loader(run.loader_workers):
                if problem is not None:
                    raise ValueError(problem)
                pool.submit(_job(run, index, item))
                for _ in pool.done():
                    progress.step(min(world_size, total - progress.done))
            for _ in pool:
                progress.step(min(world_size, total - progress.done))
    except KeyboardInterrupt:
        _say("\nWhat is finished is kept: the same command goes on from here.")
        raise


def _num_workers(run: LabelRun) -> int:
    """Choose how many processes finish label maps: without CRF, this one can do it."""
    if run.options.crf_workers is not None:
        return run.options.crf_workers
    if run.crf is None:
        return 0
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MAX_WORKERS, (os.cpu_count() or 2) // local - 1))


def _job(run: LabelRun, index: int, item: Item) -> LabelJob:
    """Make the masks of an image and gather what is left to do for it."""
    img_id, data, maker = run.data.ids[index], run.data, run.maker
    given = data.image_label(index) if maker.classes_from == "image" else None
    maps = maker(item.packed, given)
    _check_finite(maps, img_id)
    scores = run.sweep_scores(index)
    if scores:
        assert item.truth is not None, "an image that is counted has a mask"
        counts = maps.sweep_counts(scores, item.truth, len(data.classes))
        write_counts(run.folder.file("sweep", img_id), scores, counts)
    job: dict[str, Any] = dict(png=run.folder.file("labels", img_id), size=item.size)
    if run.options.save_maps:
        labels, kept = maps.to_keep()
        path = run.folder.file("maps", img_id)
        job.update(npz=path, maps=kept.cpu().numpy(), map_classes=labels, exact=maps.exact)
    if run.crf is None:
        job.update(labels=[maps.label_map(one, item.size).cpu().numpy() for one in maps.masks])
    else:
        masks = [one[0].float().cpu().numpy() for one in maps.masks]
        job.update(scores=masks, logits=maps.logits, photo=item.photo)
    return LabelJob(classes=maps.labels, **job)


def _check_finite(maps: MapsOfImage, img_id: str) -> None:
    if not all(torch.isfinite(one).all() for one in maps.masks):
        raise ValueError(
            f"The network gives NaN for the image '{img_id}': its weights are broken, take another "
            "checkpoint."
        )

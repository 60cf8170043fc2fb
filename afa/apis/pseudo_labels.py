"""Write pseudo labels of a split, over processes and machines, and go on after a stop.

Every image is finished by one process; its files are whole or not there, and the label map is
written last. What is finished is skipped, so that the same command goes on after a stop. Nothing
that grows with the set is kept in memory but the list of its images.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.config import Config

from afa.apis.label_items import Items, PhotoItem
from afa.apis.label_maker import MapsOfImage, label_map, shares, sweep_counts
from afa.apis.pseudo_label_options import PseudoLabelOptions
from afa.apis.pseudo_label_report import measure, report
from afa.apis.pseudo_label_run import LabelRun, prepare_run
from afa.engine.dist import first_process, init_dist
from afa.evaluation.threshold_sweep import write_counts
from afa.utils.label_job import LabelJob, finish_label
from afa.utils.ordered_pool import OrderedPool
from afa.utils.progress import Progress

TIMEOUT = 7 * 24 * 3600  # a process that has less to do waits for the slowest one
_MAX_WORKERS = 8


def make_pseudo_labels(
    cfg: Config, checkpoint: str | Path, options: PseudoLabelOptions
) -> dict[str, Any]:
    """Write the pseudo labels of a split, evaluate them if asked for, and write a summary.

    Args:
        cfg: The config.
        checkpoint: The checkpoint file.
        options: What to make.

    Returns:
        The content of summary.json.

    Raises:
        FileNotFoundError: If the checkpoint is not there.
        ValueError: If config, checkpoint, data and options do not fit, or a photo cannot be read.
    """
    init_dist(options.launcher, timeout=TIMEOUT)
    start = time.monotonic()
    return make_labels(prepare_run(cfg, checkpoint, options), start)


def make_labels(run: LabelRun, start: float) -> dict[str, Any]:
    """Make what a run asks for; for its other ways see :func:`make_pseudo_labels`.

    Args:
        run: The run, the same in all processes.
        start: When its preparation began, by :func:`time.monotonic`.

    Returns:
        The content of summary.json.

    Raises:
        ValueError: If a photo cannot be read, or the folder holds something else.
    """
    options = run.options
    pending = first_process(partial(_prepare_folder, run))
    _say(
        f"Labels of kind '{options.kind}' for {len(run.data)} images ({options.split}) in "
        f"'{run.folder.path}': {len(run.data) - len(pending)} are finished, {len(pending)} to make."
    )
    _say(run.statement)
    begin = time.monotonic()
    _make(run, pending[dist.get_rank() :: dist.get_world_size()], len(pending))
    dist.barrier()
    seconds = time.monotonic() - begin
    measured = measure(run)
    times = dict(total=time.monotonic() - start, making=seconds)
    return first_process(partial(report, run, len(pending), measured, times))


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


def _job(run: LabelRun, index: int, item: dict[str, Any]) -> LabelJob:
    """Run the network on an image and gather what is left to do for it."""
    img_id, data, options = run.data.ids[index], run.data, run.options
    given = data.image_label(index) if run.maker.source == "image" else None
    maps = run.maker(item["packed"], given)
    _check_finite(maps, img_id)
    scores = run.sweep_scores(index)
    if scores:
        counts = sweep_counts(maps, scores, item["truth"], len(data.classes))
        write_counts(run.folder.file("sweep", img_id), scores, counts)
    job: dict[str, Any] = dict(png=run.folder.file("labels", img_id), size=item["size"])
    if options.save_maps:
        if maps.cams is not None:  # they say more: a background score can still be chosen
            kept, classes = maps.cams[0], maps.labels[1:]
        else:
            kept, classes = maps.masks[0][0] if maps.exact else shares(maps), maps.labels
        path = run.folder.file("maps", img_id)
        job.update(npz=path, maps=kept.cpu().numpy(), map_classes=classes, exact=maps.exact)
    if run.crf is None:
        label = label_map(maps, item["size"]).cpu().numpy()
        return LabelJob(classes=maps.labels, label=label, **job)
    masks = [one[0].float().cpu().numpy() for one in maps.masks]
    return LabelJob(
        classes=maps.labels, scores=masks, logits=maps.logits, photo=item["photo"], **job
    )


def _check_finite(maps: MapsOfImage, img_id: str) -> None:
    if not all(torch.isfinite(one).all() for one in maps.masks):
        raise ValueError(
            f"The network gives NaN for the image '{img_id}': its weights are broken, take another "
            "checkpoint."
        )

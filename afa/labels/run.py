"""One run that makes the label maps of a split: make, finish, write, measure, report.

Every image is finished by one process; its files are whole or not there, and the label map is
written last. What is finished is skipped, so that the same command goes on after a stop. Nothing
that grows with the set is kept in memory but the list of its images.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.config import Config
from torch import Tensor

from afa.engine.dist import init_dist
from afa.evaluation.figures import confusion_matrix, label_figures, label_table
from afa.evaluation.threshold_sweep import best_edge, best_row, sweep_rows
from afa.files.crf import MAX_SIDE, CRFSettings
from afa.files.label_png import read_label_png
from afa.files.maps import read_counts, write_counts
from afa.files.whole_file import write_bytes, write_json
from afa.labels.folder import PLOT, SUMMARY, LabelFolder, LabelJob, finish_label
from afa.labels.makers import MaskMaker
from afa.labels.options import LabelOptions, StageOptions
from afa.labels.split import Item, SplitData, prepare_item, prepared, split_name
from afa.utils.class_names import clean_names
from afa.utils.environment import collect_versions, device_name
from afa.utils.first_process import first_process
from afa.utils.ordered_pool import OrderedPool, default_workers
from afa.utils.progress import Progress, time_text
from afa.visualization.plots import sweep_plot

_MOST_WIDER = 3  # times that a sweep goes further
_TIMEOUT = 7 * 24 * 3600  # a process that has less to do waits for the slowest one
say = dist.master_only(partial(print, flush=True))


def begin(options: StageOptions) -> float:
    """Start the processes of a stage; give when it began, by :func:`time.monotonic`."""
    start = time.monotonic()
    init_dist(options.launcher, timeout=_TIMEOUT)
    return start


class SharedProgress(Progress):
    """Progress of equal shares of several processes, for which the first one speaks."""

    def __init__(self, total: int, unit: str = "images") -> None:
        super().__init__(total, unit, active=dist.get_rank() == 0)

    def step(self, count: int = 1) -> None:
        """Count what this process and with it the others have done."""
        super().step(min(count * dist.get_world_size(), self.total - self.done))


class LabelRun:
    """What a call makes, the same in all its processes; nothing is written yet.

    Args:
        cfg: the config.
        options: what to make.
        data: the images.
        maker: makes their masks.
        settings: what decides the content of a label map, but not which images there are.
        out: what the folder in the work dir is called, before the split.
        crf: constants of the CRF; None for none.
        max_side: longest side of the photo that the CRF is computed at.

    Raises:
        ValueError: if an id would lead out of the folder, or figures are wanted without masks.
    """

    def __init__(
        self,
        cfg: Config,
        options: LabelOptions,
        data: SplitData,
        maker: MaskMaker,
        settings: Mapping[str, Any],
        out: str,
        crf: CRFSettings | None = None,
        max_side: int = MAX_SIDE,
    ) -> None:
        self.options = options
        self.data = data
        self.maker = maker
        self.settings = json.loads(json.dumps(settings))
        self.crf = crf
        self.max_side = max_side
        path = options.out or Path(cfg.work_dir) / f"{out}_{split_name(options.split)}"
        self.folder = LabelFolder(path)
        for img_id in data.ids:
            self.folder.file("labels", img_id)  # ids that lead out are refused before any work
        # The images that have a mask, where figures are wanted.
        self.masks = data.images_with_mask() if options.wants_figures else frozenset()
        self.mean_over = mean_classes(cfg)

    def sweep_scores(self, index: int) -> list[float]:
        """Background scores at which an image is counted; empty where it has no mask."""
        return self.options.sweep_scores if index in self.masks else []


def mean_classes(cfg: Config) -> tuple[str, ...] | None:
    """Find the classes over which the evaluation of the config takes its mean; None for all."""
    for key in ("val_evaluator", "test_evaluator"):
        metrics = cfg.get(key) or []
        for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
            if metric.get("type") == "WSSSIoUMetric" and metric.get("classes"):
                return clean_names(metric["classes"], f"{key}.classes")
    return None


def carry_out(run: LabelRun, start: float) -> dict[str, Any]:
    """Make, measure and report a run that began at ``start``; give the content of summary.json.

    Raises:
        ValueError: if a photo cannot be read, or the folder holds something else.
    """
    making = time.monotonic()
    num_made = _make(run)
    made = time.monotonic()
    measured = measure(run)
    seconds = dict(total=time.monotonic() - start, making=made - making)
    content = first_process(partial(report, run, num_made, measured, seconds))
    for _ in range(_MOST_WIDER):
        if not _widen_sweep(run, measured):
            break
        _make(run)
        measured = measure(run)
        content = first_process(partial(report, run, num_made, measured, seconds))
    return content


def _widen_sweep(run: LabelRun, measured: tuple[Tensor, Tensor] | None) -> bool:
    """Let the sweep go further where its best score lies at its edge; say whether it does."""
    if measured is None or not run.options.sweep_scores:
        return False
    scores, name = run.options.sweep_scores, run.maker.score_name
    rows = sweep_rows(measured[1], scores, run.data.classes, run.mean_over)
    edge = best_edge(rows)
    sweep = run.options.wider_sweep(edge) if edge else None
    place = f"The best {name}, {best_row(rows)['bkg_thr']:g}, lies at the edge of the sweep"
    if sweep is None:
        if edge:
            end = "no background at all" if edge < 0 else "hardly anything else"
            say(f"{place}, beyond which there is none ({end}).")
        return False
    run.options = replace(run.options, sweep=sweep, overwrite=False)
    more = [score for score in run.options.sweep_scores if score not in scores]
    run.maker.add_scores(more)
    say(f"{place}: it goes on with {', '.join(f'{score:g}' for score in more)} (Ctrl-C stops it).")
    return True


def _make(run: LabelRun) -> int:
    """Make the files of all images that are not finished, this process its share; say how many."""
    options, num_images = run.options, len(run.data)
    pending = first_process(partial(_prepare_folder, run))
    say(
        f"Labels of kind '{options.kind}' for {num_images} images ({options.split}) in "
        f"'{run.folder.path}': {num_images - len(pending)} are finished, {len(pending)} to make."
    )
    say(run.maker.statement)
    progress = SharedProgress(len(pending))
    finish = partial(finish_label, palette=run.data.palette, crf=run.crf)
    max_side = None if run.crf is None else run.max_side
    prepare = partial(prepare_item, run.data, max_side, bool(options.sweep_scores))
    share = pending[dist.get_rank() :: dist.get_world_size()]
    try:
        with OrderedPool(finish, _num_workers(run)) as pool:
            for index, item in prepared(prepare, share, run.data.num_workers):
                pool.submit(_job(run, index, item))
                for _ in pool.done():
                    progress.step()
            for _ in pool:
                progress.step()
    except KeyboardInterrupt:
        say("\nWhat is finished is kept: the same command goes on from here.")
        raise
    dist.barrier()
    return len(pending)


def _prepare_folder(run: LabelRun) -> list[int]:
    """Make the folder ready and list the images that are not finished."""
    run.folder.prepare(run.settings, run.options.overwrite)
    run.folder.make_parents(run.data.ids)
    return [
        index
        for index, img_id in enumerate(run.data.ids)
        if not run.folder.is_finished(img_id, run.options.save_maps, run.sweep_scores(index))
    ]


def _num_workers(run: LabelRun) -> int:
    """Choose how many processes finish label maps: without CRF, this one can do it."""
    if run.options.crf_workers is not None:
        return run.options.crf_workers
    if run.crf is None:
        return 0
    return default_workers()


def _job(run: LabelRun, index: int, item: Item) -> LabelJob:
    """Make the masks of an image and gather what is left to do for it."""
    img_id, data, maker = run.data.ids[index], run.data, run.maker
    given = data.image_label(index) if maker.classes_from == "image" else None
    maps = maker(item.packed, given)
    if not all(torch.isfinite(one).all() for one in maps.masks):
        raise ValueError(
            f"The network gives NaN for the image '{img_id}': its weights are broken, take another "
            "checkpoint."
        )
    scores = run.sweep_scores(index)
    if scores:
        assert item.truth is not None, "an image that is counted has a mask"
        counts = maps.sweep_counts(scores, item.truth, len(data.classes))
        write_counts(run.folder.file("sweep", img_id), scores, counts.numpy())
    with_crf = run.crf is not None
    return LabelJob(
        png=run.folder.file("labels", img_id),
        size=item.size,
        classes=maps.labels,
        labels=[] if with_crf else [_array(maps.label_map(one, item.size)) for one in maps.masks],
        scores=[_array(one[0].float()) for one in maps.masks] if with_crf else [],
        logits=maps.logits,
        photo=item.photo,
        npz=run.folder.file("maps", img_id) if run.options.save_maps else None,
        kept=maps.to_keep() if run.options.save_maps else None,
        exact=maps.exact,
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def measure(run: LabelRun) -> tuple[Tensor, Tensor] | None:
    """Count the pixels of all label maps that have a mask, this process its share of them.

    Returns:
        counts (C, C + 1) of the label maps and (T, C, C + 1) of the sweep, summed over the set and
        the processes; None where no figures are wanted.

    Raises:
        ValueError: if a file cannot be read or a mask has values that are no class.
    """
    if not run.masks:
        return None
    num_classes, scores = len(run.data.classes), run.options.sweep_scores
    counts = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    sweep = torch.zeros(len(scores), *counts.shape, dtype=torch.int64)
    progress = SharedProgress(len(run.masks), "label maps measured")
    share = sorted(run.masks)[dist.get_rank() :: dist.get_world_size()]
    for index, found in prepared(partial(_count, run), share, run.data.num_workers):
        counts += found
        if scores:
            path = run.folder.file("sweep", run.data.ids[index])
            added = read_counts(path, scores)
            if added is None:
                raise ValueError(f"'{path}' has gone or is broken: run the same command again.")
            sweep += torch.from_numpy(added)
        progress.step()
    for total in (counts, sweep):
        dist.all_reduce(total)
    return counts, sweep


def _count(run: LabelRun, index: int) -> Tensor:
    """Count the pixels of a label map that has been written, (C, C + 1)."""
    img_id = run.data.ids[index]
    label = read_label_png(run.folder.file("labels", img_id))
    truth = torch.from_numpy(run.data.mask(index, label.shape))
    try:
        return confusion_matrix(torch.from_numpy(label), truth, len(run.data.classes))
    except ValueError as error:
        raise ValueError(f"Image '{img_id}': {error}.") from error


def report(
    run: LabelRun,
    num_made: int,
    measured: tuple[Tensor, Tensor] | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Print and write what came of a run: summary.json, which is returned, and the sweep's plot.

    Args:
        run: the run.
        num_made: images that it made.
        measured: what :func:`measure` gave.
        seconds: times by name; ``making`` is that of the images made.
    """
    run.folder.tidy()
    options = run.options
    content: dict[str, Any] = dict(
        settings=run.settings,
        classes=list(run.data.classes),
        true_image_labels=run.maker.true_image_labels,
        statement=run.maker.statement,
        split=options.split,
        num_images=len(run.data),
        num_made=num_made,
        num_skipped=len(run.data) - num_made,
        images_per_second=round(num_made / max(1e-9, seconds["making"]), 3),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        num_processes=dist.get_world_size(),
        device=device_name(),
        command=options.command,
        versions=collect_versions(),
    )
    if measured is not None:
        content.update(_figures(run, *measured))
    write_json(run.folder.path / SUMMARY, content)
    print(f"Done in {time_text(seconds['total'])}; what was made stands in '{run.folder.path}'.")
    return content


def _figures(run: LabelRun, counts: Tensor, sweep: Tensor) -> dict[str, Any]:
    """Compute, print and draw the figures."""
    classes, options = run.data.classes, run.options
    figures = label_figures(counts, classes, run.mean_over)
    print(label_table(figures, classes))
    over = f", mean over {len(run.mean_over)} classes of the config" if run.mean_over else ""
    left_out = len(run.data) - len(run.masks)
    rest = f"; {left_out} images have no mask and do not count" if left_out else ""
    print(f"mIoU {figures['mIoU']:.2f} ({options.kind}, {len(run.masks)} images{over}{rest}).")
    if "mIoU.decided" in figures:
        print(
            f"{figures['undecided']:.1f} % of the pixels are undecided and count as missed; "
            f"without them mIoU is {figures['mIoU.decided']:.2f}."
        )
    print(run.maker.statement)
    content: dict[str, Any] = dict(
        figures=figures, num_masks=len(run.masks), mean_over=list(run.mean_over or classes)
    )
    if len(sweep):
        content["sweep"] = _sweep(run, sweep)
    return content


def _sweep(run: LabelRun, counts: Tensor) -> dict[str, Any]:
    """Tabulate and draw the sweep; it is of the maps before the CRF."""
    scores, options = run.options.sweep_scores, run.options
    rows = sweep_rows(counts, scores, run.data.classes, run.mean_over)
    best = best_row(rows)
    before = " before the CRF" if run.crf is not None else ""
    print(f"{run.maker.score_name.capitalize()} and mIoU{before}:")
    for row in rows:
        print(f"  {row['bkg_thr']:<6g} {row['mIoU']:6.2f}" + ("  <- best" if row is best else ""))
    used = {True: ", true image labels", False: ", predicted image labels", None: ""}
    split = split_name(options.split)
    images = f"{len(run.masks)} images of {split}{used[run.maker.true_image_labels]}"
    title = f"{options.kind}{before}: {images}"
    plot = sweep_plot(rows, title, run.maker.scores, run.maker.score_name)
    write_bytes(run.folder.path / PLOT, plot)
    print(f"The plot is '{run.folder.path / PLOT}'.")
    return dict(of=f"maps{before}", score=run.maker.score_name, best=dict(best), rows=rows)

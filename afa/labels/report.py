"""Figures of label maps, from the files that were written, and the summary of a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmengine import dist
from torch import Tensor

from afa.evaluation.figures import label_figures, label_table
from afa.evaluation.threshold_sweep import best_row, read_counts, sweep_rows
from afa.files.whole_file import write_bytes, write_json
from afa.labels.folder import PLOT, SUMMARY
from afa.labels.run import LabelRun
from afa.labels.split import CountItem, Items, split_name
from afa.utils.environment import collect_versions, device_name
from afa.utils.progress import Progress, time_text
from afa.visualization.plots import sweep_plot


def measure(run: LabelRun) -> tuple[Tensor, Tensor] | None:
    """Count the pixels of all label maps that have a mask, this process its share of them.

    Args:
        run: the run, its labels made.

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
    progress = Progress(len(run.masks), "label maps measured", active=dist.get_rank() == 0)
    world_size = dist.get_world_size()
    share = sorted(run.masks)[dist.get_rank() :: world_size]
    items = Items(CountItem(run.data, partial(run.folder.file, "labels")), share)
    for index, found, problem in items.loader(run.loader_workers):
        if problem is not None:
            raise ValueError(problem)
        counts += found
        if scores:
            path = run.folder.file("sweep", run.data.ids[index])
            added = read_counts(path, scores)
            if added is None:
                raise ValueError(f"'{path}' has gone or is broken: run the same command again.")
            sweep += added
        progress.step(min(world_size, len(run.masks) - progress.done))
    for total in (counts, sweep):
        dist.all_reduce(total)
    return counts, sweep


def report(
    run: LabelRun,
    num_made: int,
    measured: tuple[Tensor, Tensor] | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Print and write what came of a run: summary.json, and the plot of the sweep.

    Args:
        run: the run.
        num_made: images that it made.
        measured: what :func:`measure` gave.
        seconds: times by name; ``making`` is that of the images made.

    Returns:
        the content of summary.json.
    """
    run.folder.tidy()
    options = run.options
    content: dict[str, Any] = dict(
        settings=run.settings,
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
    left_out = len(run.data) - len(run.masks)
    over = (
        "" if run.mean_over is None else f", mean over {len(run.mean_over)} classes of the config"
    )
    print(
        f"mIoU {figures['mIoU']:.2f} ({options.kind}, {len(run.masks)} images{over}"
        + (f"; {left_out} images have no mask and do not count)." if left_out else ").")
    )
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

"""Runs side by side: a table, its JSON, plots, and a page of pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from afa.files.whole_file import write_bytes, write_json, write_text
from afa.pipelines.run_summary import RunSummary
from afa.visualization.plots import bars_plot, curves_plot

COLUMNS = (
    "method",
    "networks",
    "stages",
    "training",
    "peak memory",
    "labels, train",
    "segmentation, val",
    "+ TTA",
    "+ TTA + CRF",
)


def name_apart(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Add its folder to the name of a run that shares its method with another.

    Tables, plots and pictures tell runs apart by their names.
    """
    found = []
    for run in runs:
        others = [one for one in runs if one is not run and one.name == run.name]
        place = run.folder.name
        if any(one.folder.name == place for one in others):
            place = str(run.folder)
        found.append(replace(run, name=f"{run.name} ({place})") if others else run)
    return found


def comparison_table(runs: Sequence[RunSummary]) -> str:
    """Tabulate runs in Markdown; mIoU in percent, a dash for what was not measured."""
    lines = [" | ".join(COLUMNS), "|".join("---" for _ in COLUMNS)]
    for run in runs:
        labels = ", ".join(f"{name} {value:.1f}" for name, value in run.labels.items())
        memory = "-" if run.peak_memory_mib is None else f"{run.peak_memory_mib / 1024:.1f} GiB"
        cells = [
            run.name,
            str(run.num_networks),
            str(run.num_stages),
            f"{run.seconds / 60:.1f} min",
            memory,
            labels or "-",
            _percent(run.single.get("seg/mIoU")),
            _percent(run.tta_crf.get("seg/mIoU")),
            _percent(run.tta_crf.get("crf/mIoU")),
        ]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def comparison_json(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """Give the same, with per-class figures and curves, as plain values."""
    return [
        dict(
            method=run.name,
            folder=run.folder.name,
            num_networks=run.num_networks,
            num_stages=run.num_stages,
            seconds=run.seconds,
            peak_memory_mib=run.peak_memory_mib,
            labels_train=run.labels,
            segmentation_val=run.single,
            segmentation_val_tta_crf=run.tta_crf,
            curve=run.curve,
        )
        for run in runs
    ]


def per_class(run: RunSummary) -> dict[str, float]:
    """Give the IoU of each class of the segmentation at a single scale."""
    start = "seg/IoU."
    return {
        name.removeprefix(start): value
        for name, value in run.single.items()
        if name.startswith(start)
    }


def draw_plots(runs: Sequence[RunSummary], out: Path) -> list[str]:
    """Draw mIoU over time and IoU per class; give the names of the files."""
    curves = [(run.name, [(seconds / 60, value) for seconds, value in run.curve]) for run in runs]
    per_run = [(run.name, per_class(run)) for run in runs]
    plots = {
        "miou_over_time.png": curves_plot(
            curves, "minutes since the first stage began", "segmentation mIoU, val (%)"
        ),
        "iou_per_class.png": bars_plot(per_run, "IoU, val (%)"),
    }
    for name, plot in plots.items():
        write_bytes(out / name, plot)
    return list(plots)


def write_comparison(
    runs: Sequence[RunSummary], out: str | Path, pictures: dict[str, list[dict[str, str]]]
) -> Path:
    """Write ``table.md``, ``comparison.json``, plots and ``index.html`` into a folder.

    Args:
        runs: the runs, in the order of the table.
        out: the folder.
        pictures: title of a section to rows; a row maps the title of a column to a picture file,
            relative to the folder.

    Returns:
        The page, which opens from disk.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    table = comparison_table(runs)
    write_text(folder / "table.md", table)
    write_json(folder / "comparison.json", comparison_json(runs))
    plots = draw_plots(runs, folder)
    write_text(folder / "index.html", _page(table, plots, pictures))
    return folder / "index.html"


def _page(table: str, plots: Sequence[str], pictures: dict[str, list[dict[str, str]]]) -> str:
    """Write the page."""
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    )
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Comparison</title><style>"
        "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left}"
        "td img{width:160px;display:block}</style><h1>Comparison</h1>",
        _html_table(head, [[html.escape(cell) for cell in row] for row in rows]),
        "<p>mIoU in percent. Labels of the training images use the true image labels; the "
        "segmentation does not.</p>",
        *(f"<p><img src='{name}' alt='{name}'></p>" for name in plots),
    ]
    for title, entries in pictures.items():
        columns = list(dict.fromkeys(name for entry in entries for name in entry))
        cells = [[_image(entry.get(name)) for name in columns] for entry in entries]
        parts += [f"<h2>{html.escape(title)}</h2>", _html_table(columns, cells)]
    return "\n".join(parts) + "\n"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table>{line([html.escape(cell) for cell in head], 'th')}{body}</table>"


def _image(path: str | None) -> str:
    return "" if path is None else f"<img loading='lazy' src='{path}'>"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

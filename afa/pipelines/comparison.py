"""Runs side by side: a table, its JSON, plots, and a page of pictures.

The pictures show the same images with what every run made of them: labels of training images,
segmentation of others. Each section of them is a sheet too, one picture to be passed on.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from afa.apis import inference_model, init_model
from afa.engine.config.load import read_config_file
from afa.files.label_png import read_label_png
from afa.files.photo import read_photo, write_picture
from afa.files.whole_file import write_bytes, write_json, write_text
from afa.pipelines.run_summary import RunSummary
from afa.pipelines.stage import last_checkpoint
from afa.visualization import grid, legend_entries, overlay_label
from afa.visualization.captions import Entries
from afa.visualization.plots import bars_plot, curves_plot

LabelOf = Callable[[dict], "np.ndarray | None"]  # from what a data set knows of an image


@dataclass
class Section:
    """Pictures of some images of a split; files are named relative to the page.

    Args:
        rows: for each image the title of a column to a file.
        names: of the images.
        legend: name and RGB colour of the classes that occur.
        sheet: file of all of them in one picture.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    legend: Entries = ()
    sheet: str = ""


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


def write_comparison(
    runs: Sequence[RunSummary], out: str | Path, pictures: dict[str, Section]
) -> Path:
    """Write ``table.md``, ``comparison.json``, plots and ``index.html`` into a folder.

    Args:
        runs: the runs, in the order of the table.
        out: the folder.
        pictures: title of a section to its pictures, see :func:`draw_pictures`.

    Returns:
        The page, which opens from disk.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", comparison_table(runs))
    write_json(folder / "comparison.json", [_plain(run) for run in runs])
    curves = [(run.name, [(seconds / 60, miou) for seconds, miou in run.curve]) for run in runs]
    plots = {
        "miou_over_time.png": curves_plot(
            curves, "minutes since the first stage began", "segmentation mIoU, val (%)"
        ),
        "iou_per_class.png": bars_plot([(r.name, per_class(r)) for r in runs], "IoU, val (%)"),
    }
    for name, plot in plots.items():
        write_bytes(folder / name, plot)
    page = folder / "index.html"
    write_text(page, _page(runs, list(plots), pictures))
    return page


def comparison_table(runs: Sequence[RunSummary]) -> str:
    """Tabulate runs in Markdown; mIoU in percent, a dash for what was not measured."""
    cells = [_cells(run) for run in runs]
    lines = [" | ".join(cells[0]), "|".join("---" for _ in cells[0])]
    lines += [" | ".join(row.values()) for row in cells]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _cells(run: RunSummary) -> dict[str, str]:
    """Write the row of a run: title of each column to its text."""
    memory = "-" if run.peak_memory_mib is None else f"{run.peak_memory_mib / 1024:.1f} GiB"
    return {
        "method": run.name,
        "networks": str(run.num_networks),
        "stages": str(run.num_stages),
        "training": f"{run.seconds / 60:.1f} min",
        "peak memory": memory,
        "labels, train": ", ".join(f"{n} {miou:.1f}" for n, miou in run.labels.items()) or "-",
        "segmentation, val": _percent(run.single.get("seg/mIoU")),
        "+ TTA": _percent(run.tta_crf.get("seg/mIoU")),
        "+ TTA + CRF": _percent(run.tta_crf.get("crf/mIoU")),
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _plain(run: RunSummary) -> dict[str, Any]:
    """Give what the table has, per-class figures and curve as plain values."""
    return dict(
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


def per_class(run: RunSummary) -> dict[str, float]:
    """Give the IoU of each class of the segmentation at a single scale."""
    start, figures = "seg/IoU.", run.single.items()
    return {name.removeprefix(start): v for name, v in figures if name.startswith(start)}


def _page(runs: Sequence[RunSummary], plots: Sequence[str], pictures: dict[str, Section]) -> str:
    """Write the page."""
    cells = [_cells(run) for run in runs]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Comparison</title><style>"
        "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left}"
        "td img{width:160px;display:block}thead th{position:sticky;top:0;background:#fff}"
        ".legend span{display:inline-block;margin-right:1.2em}"
        ".legend i{display:inline-block;width:1em;height:1em;border:1px solid #666;"
        "margin-right:.3em;vertical-align:-.15em}</style><h1>Comparison</h1>",
        _html_table(list(cells[0]), [[html.escape(v) for v in row.values()] for row in cells]),
        "<p>mIoU in percent. Labels of the training images use the true image labels; the "
        "segmentation does not.</p>",
        *(f"<p><img src='{name}' alt='{name}'></p>" for name in plots),
    ]
    for title, section in pictures.items():
        columns = _columns(section)
        images = [
            [html.escape(image), *(_image(row.get(name)) for name in columns)]
            for image, row in zip(section.names, section.rows, strict=True)
        ]
        parts += [
            f"<h2>{html.escape(title)}</h2>",
            _html_legend(section.legend),
            _html_table(["image", *columns], images),
            f"<p><a href='{section.sheet}'>All of them in one picture</a></p>",
        ]
    return "\n".join(parts) + "\n"


def _columns(section: Section) -> list[str]:
    """List the titles of columns; a row may lack some of them."""
    return list(dict.fromkeys(name for row in section.rows for name in row))


def _html_legend(entries: Entries) -> str:
    spans = []
    for name, color in entries:
        values = tuple(int(value) for value in (() if color is None else color))
        spans.append(f"<span><i style='background:rgb{values}'></i>{html.escape(name)}</span>")
    return f"<p class='legend'>{''.join(spans)}</p>"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    heads = line([html.escape(cell) for cell in head], "th")
    return f"<table><thead>{heads}</thead><tbody>{body}</tbody></table>"


def _image(path: str | None) -> str:
    return "" if path is None else f"<img loading='lazy' src='{path}'>"


def draw_pictures(
    runs: Sequence[RunSummary], out: str | Path, num_images: int = 8
) -> dict[str, Section]:
    """Draw training images with the labels of each run, and validation images with its network's.

    Args:
        runs: the runs; one without network or labels is left out of the section.
        out: folder of the page; the pictures go into ``pictures/``, a sheet for each section too.
        num_images: images in each section, spread evenly over those of the set that have a label:
            a pipeline may make labels of some only (``indices`` of a data set).

    Returns:
        Title of a section to its pictures, for :func:`write_comparison`.
    """
    networks = [(run.name, run.network) for run in runs if run.network is not None]
    if not networks:
        return {}
    (Path(out) / "pictures").mkdir(parents=True, exist_ok=True)
    cfg = _config(networks[0][1])
    networks_of = [(name, _network(folder)) for name, folder in networks]
    folders = [(run.name, run.label_dir / "labels") for run in runs if run.label_dir is not None]
    labels_of = [(name, _labels(folder)) for name, folder in folders]
    labelled = {path.stem for _, folder in folders for path in folder.glob("*.png")}
    drawn = {
        "Labels of training images": ("train", labels_of, labelled),
        "Segmentation of validation images": ("test", networks_of, None),
    }
    return {
        title: _section(cfg, split, labels, Path(out), num_images, only)
        for title, (split, labels, only) in drawn.items()
        if labels
    }


def _config(network: Path) -> Config:
    """Read the config that a training has left in its folder."""
    found = sorted(network.glob("*.py"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"'{network}' must have one config file (*.py), found {names}.")
    return read_config_file(found[0])


def _network(folder: Path) -> LabelOf:
    """Build the network of a training; what the config names is registered then."""
    model = init_model(_config(folder), last_checkpoint(folder))
    return lambda info: inference_model(model, info["img_path"]).pred_sem_seg.data[0].cpu().numpy()


def _labels(folder: Path) -> LabelOf:
    """Read the label maps of a folder; an image may have none."""

    def read(info: dict) -> np.ndarray | None:
        path = folder / f"{info['img_id']}.png"
        return read_label_png(path) if path.is_file() else None

    return read


def _section(
    cfg: Config,
    split: str,
    labels: Sequence[tuple[str, LabelOf]],
    out: Path,
    num_images: int,
    only: Set[str] | None,
) -> Section:
    """Draw photo, truth where there is one, and every run's label of some images of a split."""
    dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
    test_set = cfg.test_dataloader.dataset
    truths = Path(test_set.data_root) / (test_set.data_prefix.get("seg_map_path") or "")
    classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
    section, shown = Section(), []
    pictures: list[dict[str, np.ndarray]] = []
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    infos = [info for info in infos if only is None or info["img_id"] in only] or infos
    for index in np.linspace(0, len(infos) - 1, min(num_images, len(infos))):
        info = infos[int(index)]
        photo = np.ascontiguousarray(read_photo(info["img_path"])[..., ::-1])
        truth = truths / f"{info['img_id']}.png"
        drawn = {"truth": read_label_png(truth) if truth.is_file() else None}
        drawn.update({name: label_of(info) for name, label_of in labels})
        cells = {"photo": photo}
        for name, label in drawn.items():
            if label is not None:
                cells[name] = overlay_label(photo, label, palette)
                shown.append(np.unique(label))
        row = {}
        for number, (name, cell) in enumerate(cells.items()):
            row[name] = f"pictures/{split}_{len(pictures)}_{number}.jpg"
            write_picture(out / row[name], cell)
        section.rows.append(row)
        section.names.append(str(info["img_id"]))
        pictures.append(cells)
    section.legend = legend_entries(shown, classes, palette)
    section.sheet = f"pictures/{split}.png"
    columns = _columns(section)
    blank: np.ndarray = np.full((1, 1, 3), 255, np.uint8)
    rows = [[cells.get(name, blank) for name in columns] for cells in pictures]
    write_picture(out / section.sheet, grid(rows, columns, section.names, section.legend))
    return section

"""The report of a training as one HTML file, which opens without network and can be sent."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afa.visualization.plots import bars_plot, curves_plot, matrix_plot

Points = Sequence[tuple[float, float]]
# Figures that the report shows, in this order.
KINDS = {
    "cls/F1": "classifier, F1",
    "cam/mIoU": "CAM",
    "par/mIoU": "PAR",
    "propagated/mIoU": "propagated label",
    "seg/mIoU": "segmentation",
}
_FULL_MATRIX = 25  # classes; the matrix of more cannot be read
_MIXED_UP = 10  # pairs of classes
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 0 auto; padding: 1rem; }
p { max-width: 52rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; margin: .5rem 0; } .scroll img { background: white; }
figure { margin: 0; }
img { max-width: 100%; height: auto; } img.wide { max-width: none; }
table { border-collapse: collapse; } td, th { padding: .25rem .9rem .25rem 0; text-align: left;
border-bottom: 1px solid var(--line); } td.number { text-align: right; }
.verdict { border-left: 4px solid #0072b2; padding: .2rem 1rem; background: #0072b218; }
pre { overflow-x: auto; font-size: .8rem; } input[type=range] { width: min(30rem, 100%); }
"""
_SLIDER = """
const slider = document.getElementById("step");
if (slider) slider.oninput = () => document.querySelectorAll("[data-step]").forEach((figure, i) =>
  { figure.hidden = i != slider.value; });
"""


@dataclass
class Report:
    """What a report tells; parts that are empty are left out.

    Args:
        title: name of the run.
        verdict: sentences that say what came out.
        recipe: what was trained, by name.
        figures: figures of the last validation in percent, such as ``seg/mIoU``, ``seg/IoU.dog``.
        curves: figures in percent over iterations: name to points.
        losses: losses over iterations: name to points.
        phases: iteration that each phase begins at.
        steps: iteration of a validation and its pictures, a JPEG.
        extremes: heading and pictures of single photos, a JPEG each.
        confusion: (C, C) pixels; rows are true classes, columns predictions; None if unknown.
        classes: names of the C classes.
        cost: time and memory, by name.
        versions: what the result depends on, by name.
        config: text of the whole config.
    """

    title: str
    verdict: Sequence[str] = ()
    recipe: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Points] = field(default_factory=dict)
    losses: Mapping[str, Points] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)
    steps: Sequence[tuple[int, bytes]] = ()
    extremes: Mapping[str, bytes] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    classes: Sequence[str] = ()
    cost: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    config: str = ""


def report_page(report: Report) -> str:
    """Write a report as HTML, its pictures inside."""
    parts = [
        f"<h1>{html.escape(report.title)}</h1>",
        _verdict(report.verdict),
        _figures(report.figures),
        _section("The recipe", _table(report.recipe)),
        _section("Over the training", _curves(report)),
        _section("Each class", _classes(report)),
        _section("The same images over the training", _steps(report.steps)),
        *(
            _section(name, _image(jpeg, "jpeg", name, wide=True))
            for name, jpeg in report.extremes.items()
        ),
        _section("Taken for each other", _confusion(report)),
        _section("Time and memory", _table(report.cost)),
        _section("Versions", _table(report.versions)),
        _section("The whole config", _details(report.config)),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(report.title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n<script>{_SLIDER}</script>\n</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{content}" if content else ""


def _verdict(lines: Sequence[str]) -> str:
    text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<div class="verdict">{text}</div>' if text else ""


def _figures(figures: Mapping[str, float]) -> str:
    """Write the mean figures, in percent, as a table."""
    found = {name: f"{figures[key]:.1f}" for key, name in KINDS.items() if key in figures}
    mean = "percent, on the validation images (mIoU of label maps)"
    return _section("Figures", f"<p>In {mean}.</p>{_table(found, True)}") if found else ""


def _table(rows: Mapping[str, str], numbers: bool = False) -> str:
    kind = ' class="number"' if numbers else ""
    lines = [
        f"<tr><th>{html.escape(name)}</th><td{kind}>{html.escape(text)}</td></tr>"
        for name, text in rows.items()
    ]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>' if lines else ""


def _image(data: bytes, kind: str, text: str, wide: bool = False) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = ' class="wide"' if wide else ""
    return f'<div class="scroll"><img{style} alt="{html.escape(text)}" src="{source}"></div>'


def _curves(report: Report) -> str:
    figures = {KINDS[key]: points for key, points in report.curves.items() if key in KINDS}
    drawn = ""
    for points, label in ((figures, "percent"), (report.losses, "loss")):
        if any(points.values()):
            plot = curves_plot(list(points.items()), "iteration", label, report.phases)
            drawn += _image(plot, "png", f"{', '.join(points)} over iterations")
    return drawn


def _classes(report: Report) -> str:
    """Draw the IoU of each class, of the segmentation and of the labels that it learned from."""
    groups = []
    for key, name in KINDS.items():
        lead = f"{key.partition('/')[0]}/IoU."
        values = {k.removeprefix(lead): v for k, v in report.figures.items() if k.startswith(lead)}
        groups += [(name, values)] if values else []
    if not groups:
        return ""
    return _image(bars_plot(groups, "IoU, percent"), "png", "IoU of each class", wide=True)


def _steps(steps: Sequence[tuple[int, bytes]]) -> str:
    """Put the pictures of the validations behind a slider; the last one is shown first."""
    last = len(steps) - 1
    figures = ""
    for number, (step, jpeg) in enumerate(steps):
        picture = _image(jpeg, "jpeg", f"label maps at iteration {step}", wide=True)
        hidden = "" if number == last else " hidden"
        caption = f"<figcaption>iteration {step}</figcaption>"
        figures += f"<figure data-step{hidden}>{caption}{picture}</figure>"
    slider = (
        '<label>validation <input type="range" id="step" min="0" '
        f'max="{last}" value="{last}"></label>'
    )
    return (slider if last > 0 else "") + figures


def _confusion(report: Report) -> str:
    """Say which classes are taken for which, and draw the matrix where it can be read."""
    if report.confusion is None or not report.confusion.any():
        return ""
    counts: np.ndarray = report.confusion.astype(np.float64)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    wrong = shares - np.diag(np.diag(shares))
    worst = np.argsort(wrong, axis=None)[::-1][:_MIXED_UP]
    rows = {}
    for true, taken in zip(*np.unravel_index(worst, wrong.shape), strict=True):
        if wrong[true, taken] >= 1:
            name = f"{report.classes[true]} taken for {report.classes[taken]}"
            rows[name] = f"{wrong[true, taken]:.0f} % of its pixels"
    table = _table(rows, True)
    if len(report.classes) > _FULL_MATRIX:
        return table
    plot = matrix_plot(shares, report.classes, "predicted as", "true class")
    return table + _image(plot, "png", "share of each true class that is predicted as each class")


def _details(text: str) -> str:
    return f"<details><summary>show</summary><pre>{html.escape(text)}</pre></details>" * bool(text)


def as_text(value: Any) -> str:
    """Write a value of a recipe as people read it: numbers short, lists with commas."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(one) for one in value)
    return str(value)

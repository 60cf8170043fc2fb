"""The results of the benchmark as Markdown, and how the cost of a step grows as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HEAD = (
    "| part | ours | usual | ratio | at least / aim | memory, share of usual | above the floor |\n"
    "|---|---|---|---|---|---|---|"
)

NAMES = dict(
    crop="crop in pixels", num_classes="classes", batch="batch", processes="processes, same batch"
)


def seconds_text(value: float) -> str:
    """Write seconds with three digits, as ms below one second."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def row_text(result: Mapping[str, Any]) -> str:
    """Write the result of one part as a row of the table.

    Args:
        result: what :func:`measure_case` gives, or rows of their own.
    """
    if "ours" not in result:
        return f"| {result['title']} | see below | | | | | |"
    cells = [result["title"], _time(result["ours"])]
    cells.append(_time(result["reference"]) if "reference" in result else "")
    ratio, target = result.get("ratio"), result.get("target")
    cells.append(
        "" if ratio is None else f"**{ratio:.2g}×**" if ratio < 10 else f"**{ratio:.0f}×**"
    )
    cells.append(f"{target[0]}× / {target[1]}×" if target else "")
    cells.append(_memory(result))
    above = result.get("above_floor")
    cells.append("" if above is None else f"{above:.1f}×")
    return f"| {' | '.join(cells)} |"


def _time(times: Mapping[str, float]) -> str:
    low, high = seconds_text(times["low"]), seconds_text(times["high"])
    return f"{seconds_text(times['median'])} ({low} to {high})"


def _memory(result: Mapping[str, Any]) -> str:
    memory = result.get("memory")
    if not memory or memory.get("ours") is None:
        return ""
    text = f"{memory['ours']:.0f} MiB"
    if "memory_ratio" in result:
        text += f", {result['memory_ratio']:.2f}"
    if result.get("memory_target"):
        text += " (≤ {} / {})".format(*result["memory_target"])
    return text


def benchmark_table(result: Mapping[str, Any]) -> str:
    """Write all results as Markdown: machine, limits, table, and what belongs to single parts.

    Args:
        result: what :func:`run_benchmark` gives.
    """
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    lines = [f"{result['machine']}, {result['threads']} threads; {versions}", ""]
    for dtype, limits in result["limits"].items():
        lines.append(
            f"Limits: copies {limits['bytes_per_second'] / 1e9:.1f} GB/s (read and written), "
            f"matrix product in {dtype} {limits['flops'] / 1e9:.0f} GFLOP/s"
        )
    lines += ["", HEAD]
    lines += [row_text(part) for part in result["parts"].values() if "rows" not in part]
    for name, part in result["parts"].items():
        lines += _details(name, part)
    return "\n".join(lines) + "\n"


def _details(name: str, part: Mapping[str, Any]) -> list[str]:
    if name.startswith("data"):
        notes = part["notes"]
        steps = {"decoding alone": notes["decoding"], **notes["steps"]}
        lines = ["", "| loading | median of a photo |", "|---|---|"]
        lines += [f"| {step} | {seconds_text(value)} |" for step, value in steps.items()]
        return [*lines, f"| mean of all steps together | {seconds_text(notes['mean'])} |"]
    if name.startswith("scaling"):
        lines = [
            "",
            "| varied | value | step | PAR | peak memory of a step |",
            "|---|---|---|---|---|",
        ]
        for row in part["rows"]:
            memory = "" if row.get("memory") is None else f"{row['memory']:.0f} MiB"
            par = "" if row.get("par") is None else seconds_text(row["par"])
            cells = [row["name"], str(row["value"]), seconds_text(row["step"]), par, memory]
            lines.append(f"| {' | '.join(cells)} |")
        return lines
    if name.startswith("throughput"):
        return _throughput(part["rows"])
    return []


def _throughput(rows: list[Mapping[str, Any]]) -> list[str]:
    lines = [
        "",
        "| MiT | batch | precision | images/s | peak memory | shares of a step | 20k iterations |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        start = f"| {row['arch'] or 'of the config'} | {row['batch']} | {row['mode']} |"
        if "error" in row:
            lines.append(f"{start} {row['error']} | | | |")
            continue
        shares = ", ".join(f"{name} {100 * value:.0f} %" for name, value in row["shares"].items())
        memory = "" if row["memory"] is None else f"{row['memory']:.0f} MiB"
        rate, hours = f"{row['images_per_second']:.3g}", f"{row['recipe_hours']:.1f} h"
        lines.append(f"{start} {rate} | {memory} | {shares} | {hours} |")
    return lines


def scaling_plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the seconds of a step and of PAR over everything that was varied.

    Args:
        rows: ``name``, ``value``, ``step`` and, where it was measured, ``par`` in seconds.

    Returns:
        A PNG, one picture beside the other.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = Figure(figsize=(3.4 * len(names), 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        some = [row for row in rows if row["name"] == name]
        values = [row["value"] for row in some]
        axes.plot(values, [row["step"] for row in some], "o-", color="#0072b2", label="step")
        if all("par" in row for row in some):
            axes.plot(values, [row["par"] for row in some], "s--", color="#d55e00", label="PAR")
        axes.set_xlabel(NAMES.get(name, name))
        axes.set_xticks(values)
        axes.set_ylim(0, 1.1 * max(row["step"] for row in some))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

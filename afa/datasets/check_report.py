"""Tell in words and in JSON what a check of data sets has found."""

from __future__ import annotations

from pathlib import Path

from prettytable import PrettyTable

from afa.datasets.check import DataReport, SplitSummary
from afa.files.whole_file import write_json


def report_lines(report: DataReport, limit: int = 20) -> list[str]:
    """Return the report as text.

    Args:
        report: What the check has found.
        limit: Most faults and notes of a kind that are listed.

    Returns:
        Lines: the counts of each split, notes, faults (one line each), and the conclusion.
    """
    lines = []
    for name, summary in report.splits.items():
        lines += ["", f"{name}: {_sentence(summary)}"]
    if report.splits:
        lines += ["", _class_table(report)]
    for title, problems in (("To look at", report.notes), ("Faults", report.faults)):
        if problems.count:
            lines += ["", f"{title} ({problems.count:,}):"]
            lines += [f"  {line}" for line in problems.lines(limit)]
    kinds = ", ".join(f"{len(found):,} {kind}" for kind, found in report.faults.found.items())
    return [*lines, "", "The data are fit." if report.fit else f"The data are not fit: {kinds}."]


def write_report(path: str | Path, report: DataReport, config: str) -> None:
    """Write the report as JSON, with every fault; the file is there whole or not at all.

    Args:
        path: The file; its folder must be there.
        report: What the check has found.
        config: The config whose data were checked.

    Raises:
        OSError: If the file cannot be written.
    """
    content = {
        "config": config,
        "fit": report.fit,
        "splits": {name: summary.as_dict() for name, summary in report.splits.items()},
        "faults": report.faults.found,
        "notes": report.notes.found,
    }
    write_json(path, content)


def _sentence(summary: SplitSummary) -> str:
    text = f"{summary.num_photos:,} photos, {summary.num_masks:,} masks"
    sizes = summary.three_sizes()
    if sizes:
        text += "; width x height " + ", ".join(
            f"{name} {width} x {height}" for name, (height, width) in sizes.items()
        )
    counts = ", ".join(
        f"{number}: {photos:,}" for number, photos in summary.photos_of_num_labels.items()
    )
    return f"{text}; photos by number of labels {counts}" if counts else text


def _class_table(report: DataReport) -> str:
    table = PrettyTable(["class", *report.splits])
    table.align = "r"
    table.align["class"] = "l"
    names = dict.fromkeys(name for s in report.splits.values() for name in s.photos_of_class)
    for name in names:
        counts = [summary.photos_of_class.get(name, 0) for summary in report.splits.values()]
        table.add_row([name, *(f"{count:,}" for count in counts)])
    return table.get_string()

"""What a finished run says about itself, end-to-end or multi-stage, in one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afa.files.scalars import read_scalars, seconds_at
from afa.files.whole_file import read_json
from afa.pipelines.pipeline import SUMMARY
from afa.pipelines.stage import read_figures

LABEL_TOOLS = ("pseudo_labels.py", "random_walk.py")


@dataclass
class RunSummary:
    """A run as the comparison needs it; figures are in percent.

    Args:
        name: what the run is called in tables.
        folder: its work folder.
        num_stages: number of stages.
        num_networks: number of networks that were trained.
        seconds: time of all stages but the tests.
        peak_memory_mib: largest peak of a stage; None if not on record.
        labels: stage to mIoU of the labels it made on the training images, in their order.
        single: figures of the segmentation on the validation set at a single scale.
        tta_crf: the same with test-time augmentation and CRF.
        curve: (seconds since the begin, segmentation mIoU) of every validation; of the test where
            no training validates.
        network: folder of the last training.
        label_dir: folder of the last labels on the training images.
    """

    name: str
    folder: Path
    num_stages: int = 1
    num_networks: int = 1
    seconds: float = 0.0
    peak_memory_mib: float | None = None
    labels: dict[str, float] = field(default_factory=dict)
    single: dict[str, float] = field(default_factory=dict)
    tta_crf: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[float, float]] = field(default_factory=list)
    network: Path | None = None
    label_dir: Path | None = None


def read_run(folder: str | Path) -> RunSummary:
    """Read the work folder of tools/run_pipeline.py or tools/train.py.

    Args:
        folder: the folder.

    Returns:
        Its summary. A training alone has figures of its last validation, taken as single scale.

    Raises:
        ValueError: if it is neither.
    """
    folder = Path(folder)
    if (folder / SUMMARY).is_file():
        return _read_pipeline(folder)
    figures = read_figures(folder)
    if "seg/mIoU" not in figures:
        raise ValueError(
            f"'{folder}' is no work folder of tools/run_pipeline.py or tools/train.py with a "
            f"validated segmentation: give a folder with {SUMMARY} or with figures of a validation."
        )
    steps, curve = _curve(folder)
    return RunSummary(
        folder.name, folder, seconds=steps, single=figures, curve=curve, network=folder
    )


def _read_pipeline(folder: Path) -> RunSummary:
    path = folder / SUMMARY
    try:
        content = read_json(path)
        run = RunSummary(content["method"], folder, content["num_stages"], len(content["networks"]))
        for name, stage in content["stages"].items():
            _add_stage(run, name, stage)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"'{path}' is not the summary of a pipeline ({error}).") from error
    return run


def _add_stage(run: RunSummary, name: str, stage: dict[str, Any]) -> None:
    """Add what one finished stage has left."""
    command = stage["command"]
    tool, figures = Path(command[1]).name, stage["figures"]
    place = next(iter(sorted(run.folder.glob(f"[0-9][0-9]_{name}"))), None)
    if tool == "test.py":
        augmented = "--tta" in command or "--crf" in command
        (run.tta_crf if augmented else run.single).update(figures)
        if not augmented and not run.curve and "seg/mIoU" in figures:
            run.curve = [(run.seconds, figures["seg/mIoU"])]
        return
    if tool == "train.py" and place is not None:
        curve = _curve(place)[1]
        run.curve += [(run.seconds + seconds, value) for seconds, value in curve]
        run.network = place
    if tool in LABEL_TOOLS and "mIoU" in figures:
        run.labels[name], run.label_dir = figures["mIoU"], place
    run.seconds += stage["seconds"]
    run.peak_memory_mib = max(run.peak_memory_mib or 0.0, stage["peak_memory_mib"])


def _curve(folder: Path) -> tuple[float, list[tuple[float, float]]]:
    """Read seconds of training and (seconds, mIoU) of each validation from the scalars."""
    losses, figures = read_scalars(folder)
    at = seconds_at(losses)
    return max(at.values()), [
        (max(seconds for logged, seconds in at.items() if logged <= step), line["seg/mIoU"])
        for step, line in sorted(figures.items())
        if "seg/mIoU" in line
    ]

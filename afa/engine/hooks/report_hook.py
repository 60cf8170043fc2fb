"""Write ``report.html`` into the work dir at every validation and at the end of a training."""

import heapq
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from afa.engine.dist import unwrapped
from afa.engine.hooks.outcome_hook import outcome
from afa.engine.hooks.phase_hook import PhaseHook
from afa.evaluation.figures import areas, confusion_matrix
from afa.files.photo import encode_picture
from afa.files.scalars import Lines, read_scalars, seconds_at
from afa.files.whole_file import (
    read_json_object,
    write_bytes,
    write_json,
    write_text,
)
from afa.models.segmentors.base import label_kinds
from afa.utils.environment import collect_versions, device_name
from afa.utils.home import run_text
from afa.utils.progress import time_text
from afa.visualization.report import KINDS, Report, as_text, report_page
from afa.visualization.sheet import COLUMNS, sample_sheet

REPORT = "report.html"
_PARTS, _STATE = "report", "state.json"  # what a resumed run goes on with
_EXTREMES = 4  # best and worst photos
_MAX_STEPS = 8  # validations whose pictures are in the report
_CELL = 132  # pixels of a picture: photo, three CAMs, four kinds of labels, truth on a desktop
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 80)


@HOOKS.register_module()
class ReportHook(Hook):
    """Gather what a validation makes of its images, and write the report of the run.

    The first process writes; of several, it shows the images that it validates itself. No image
    goes through the network for it, but those that are shown where a validation makes no labels of
    CAMs. A run without validation has its losses alone.

    Args:
        num_images: images that are shown at every validation, spread evenly over the set.
    """

    priority = "LOWEST"  # after the scalars are written

    def __init__(self, num_images: int = 12) -> None:
        self.num_images = num_images
        self._training = False  # a validation alone writes no report
        self._written = -1  # iteration of the last report
        self._chosen: set[int] = set()
        self._shown: list[Any] = []
        self._extremes: dict[str, list[tuple[float, int, Any]]] = {}
        self._confusion: torch.Tensor | None = None
        self._figures: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Note whose scalars belong to this run: its own, and those of what it resumes."""
        self._training, self._written = True, -1
        self._figures, self._confusion, self._extremes = {}, None, {}
        if runner.rank != 0:
            return
        folder = Path(runner.work_dir) / _PARTS
        logs = []
        if runner.iter > 0 and (folder / _STATE).is_file():
            logs = list(read_json_object(folder / _STATE).get("logs", []))
        else:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _STATE, {"logs": [*logs, runner.timestamp]})

    def before_val_epoch(self, runner: Runner) -> None:
        """Choose the images."""
        number = len(runner.val_dataloader)
        self._chosen = set(np.linspace(0, number - 1, min(self.num_images, number)).astype(int))
        self._shown, self._confusion = [], None
        self._extremes = {"best": [], "worst": []}

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Ask for the CAMs of a chosen image, which are computed for its labels anyway."""
        samples = (data_batch or {}).get("data_samples")
        if runner.rank == 0 and samples and batch_idx in self._chosen:
            samples[0].set_metainfo(dict(keep_cams=True))

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Keep the maps of the chosen images, and the label maps of the best and worst ones."""
        if runner.rank != 0 or not outputs or not self._training:
            return
        samples = [one for one in outputs if isinstance(one, SegDataSample)]
        for number, sample in enumerate(samples):
            counts = _confusion_of(sample, len(runner.val_dataloader.dataset.metainfo["classes"]))
            if counts is None:
                continue
            self._confusion = counts if self._confusion is None else self._confusion + counts
            self._rank(_mean_iou(counts), (batch_idx, number), sample)
        if batch_idx in self._chosen and samples:
            with _going_on(runner):
                _add_labels(unwrapped(runner.model), data_batch, samples[0])
            self._shown.append(_kept(samples[0]))

    def _rank(self, iou: float, place: tuple[int, int], sample: Any) -> None:
        """Keep an image if it is among the best or the worst so far."""
        order = place[0] * 2**20 + place[1]  # no two are equal: samples have no order
        for kind, value in (("best", iou), ("worst", -iou)):
            heap = self._extremes[kind]
            if len(heap) < _EXTREMES:
                heapq.heappush(heap, (value, order, _kept(sample)))
            elif value > heap[0][0]:
                heapq.heapreplace(heap, (value, order, _kept(sample)))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the chosen images and write the report."""
        self._figures = dict(metrics or {})
        if runner.rank != 0 or not self._training:
            return
        with _going_on(runner):
            self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the report, unless the last validation has just done it."""
        if runner.rank == 0:
            with _going_on(runner):
                if self._written != runner.iter:
                    self._write(runner)
                runner.logger.info(f"The report of this run is {Path(runner.work_dir) / REPORT}.")

    def _write(self, runner: Runner) -> None:
        self._draw_step(runner)
        page = report_page(self._report(runner))
        write_text(Path(runner.work_dir) / REPORT, page)
        self._written = runner.iter

    def _draw_step(self, runner: Runner) -> None:
        """Keep the pictures of a validation beside the report."""
        if self._shown:
            metainfo = runner.val_dataloader.dataset.metainfo
            sheet = sample_sheet(self._shown, metainfo, self._figures, cell=_CELL)
            step = Path(runner.work_dir) / _PARTS / f"step_{runner.iter:08d}.jpg"
            write_bytes(step, encode_picture(sheet, ".jpg", _QUALITY))
            self._shown = []

    def _report(self, runner: Runner) -> Report:
        """Gather what the report tells."""
        folder = Path(runner.work_dir)
        logs = read_json_object(folder / _PARTS / _STATE).get("logs", [])
        losses, figures = read_scalars(folder, [str(log) for log in logs])
        phases = next((hook.phases for hook in runner.hooks if isinstance(hook, PhaseHook)), {})
        kinds = label_kinds(unwrapped(runner.model))
        verdict = outcome(self._figures, kinds, runner.max_iters)[1] if kinds else []
        if runner.iter < runner.max_iters:
            verdict = [f"Still training: iteration {runner.iter} of {runner.max_iters}.", *verdict]
        confusion = None if self._confusion is None else self._confusion[:, :-1].numpy()
        return Report(
            title=folder.resolve().name,
            verdict=verdict,
            recipe=_recipe(runner, phases),
            figures=self._figures,
            curves=_over_iterations(figures, list(KINDS)),
            losses=_over_iterations(losses, _loss_names(losses)),
            phases={name: begin for name, begin in phases.items() if begin < runner.max_iters},
            steps=_steps(folder / _PARTS),
            extremes=self._draw_extremes(runner),
            confusion=confusion,
            classes=runner.val_dataloader.dataset.metainfo["classes"]
            if confusion is not None
            else (),
            cost=_cost(losses),
            versions=collect_versions(),
            config=runner.cfg.pretty_text,
        )

    def _draw_extremes(self, runner: Runner) -> dict[str, bytes]:
        """Draw the best and the worst images of the last validation."""
        drawn = {}
        for kind, heap in self._extremes.items():
            kept = sorted(heap, reverse=True, key=lambda entry: entry[:2])
            if not kept:
                continue
            notes = [f"mean IoU of its classes {abs(value):.0f}" for value, _, _ in kept]
            metainfo = runner.val_dataloader.dataset.metainfo
            sheet = sample_sheet([sample for *_, sample in kept], metainfo, {}, notes, cell=_CELL)
            drawn[f"The {kind} images"] = encode_picture(sheet, ".jpg", _QUALITY)
        return drawn


@contextmanager
def _going_on(runner: Runner) -> Iterator[None]:
    """Let a training go on without a report, whatever may be wrong with it."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        runner.logger.warning(f"{REPORT} is not as it should be ({text}); the training goes on.")


def _add_labels(model: Any, data_batch: Any, sample: SegDataSample) -> None:
    """Make the labels of the first image of a batch, where the validation makes none."""
    if "pred_cam" not in sample and hasattr(model, "predict_pseudo_labels"):
        inputs = model.data_preprocessor(data_batch, False)["inputs"][:1]
        model.predict_pseudo_labels(inputs, sample.pred_label[None], [sample])


def _kept(sample: Any) -> SegDataSample:
    """Copy the maps of a sample, off the device: labels in a byte a pixel, CAMs in two."""
    kept = SegDataSample(metainfo=sample.metainfo)
    for field in [field for field in ("gt_label", "pred_label", "cams") if field in sample]:
        kept.set_data({field: sample.get(field).to("cpu", torch.float16)})
    for field in [field for field, _ in COLUMNS.values() if field in sample]:
        data = sample.get(field).data.to("cpu", torch.uint8)
        kept.set_data({field: PixelData(data=data)})
    return kept


def _confusion_of(sample: Any, num_classes: int) -> torch.Tensor | None:
    """Compare the best label map of a sample with its mask; None where one is missing."""
    fields = [field for field, _ in COLUMNS.values() if field in sample]
    if fields[-1:] != ["gt_sem_seg"] or len(fields) < 2:
        return None
    pred, truth = (sample.get(field).data[0] for field in fields[-2:])
    return confusion_matrix(pred, truth, num_classes)


def _mean_iou(counts: torch.Tensor) -> float:
    """Give the mean IoU in percent over the classes of one image and of its prediction."""
    intersect, union, *_ = areas(counts)
    return float(100 * (intersect / union)[union > 0].mean()) if union.any() else 0.0


def _loss_names(losses: Lines) -> list[str]:
    names = dict.fromkeys(name for line in losses.values() for name in line)
    return [name for name in names if name.rpartition(".")[2].startswith("loss_")]


def _over_iterations(lines: Lines, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Give (iteration, value) of scalars by name; values that are no number are left out."""
    ordered = sorted(lines.items())
    return {
        name: [(step, line[name]) for step, line in ordered if _is_number(line.get(name))]
        for name in names
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def _recipe(runner: Runner, phases: Mapping[str, int]) -> dict[str, str]:
    """Say in words what is trained on what."""
    cfg, model = runner.cfg, unwrapped(runner.model)
    backbone = cfg.model.get("backbone", {})
    train = runner.train_dataloader
    sizes = f"{len(train.dataset)} training images"
    if runner.val_loop is not None:
        sizes += f", {len(runner.val_dataloader.dataset)} for validation"
    batch = f"{train.batch_size} images" + (
        f" in each of {runner.world_size} processes" if runner.world_size > 1 else ""
    )
    optimizer = cfg.optim_wrapper.optimizer
    rows = {
        "Method": type(model).__name__,
        "Backbone": " ".join(
            as_text(backbone[k]) for k in ("type", "arch", "name", "depth") if k in backbone
        ),
        "Data": f"{type(train.dataset).__name__}: {sizes}",
        "Classes": str(len(train.dataset.metainfo["classes"])) + " with the background",
        "Iterations": str(runner.max_iters),
        "Phases": ", ".join(f"{name} from {begin}" for name, begin in phases.items()),
        "Batch": batch,
        "Optimizer": f"{optimizer.type}, learning rate {as_text(optimizer.lr)}",
        "Device": device_name(),
        "Again": run_text("train", str(Path(runner.work_dir) / Path(cfg.filename).name))
        if cfg.filename
        else "",
    }
    return {name: text for name, text in rows.items() if text}


def _cost(losses: Lines) -> dict[str, str]:
    """Sum the time of the iterations that were logged; memory is the largest."""
    times = [line["time"] for line in losses.values() if "time" in line]
    if not times:
        return {}
    seconds = max(seconds_at(losses).values())
    cost = {"Training": f"{time_text(seconds)}, validations apart"}
    cost["An iteration"] = f"{np.median(times):.3g} s (median)"
    memory = max(line.get("memory", 0) for line in losses.values())
    return cost | ({"Memory": f"{memory} MiB at most"} if memory else {})


def _steps(folder: Path) -> list[tuple[int, bytes]]:
    """Read the pictures of the validations: first, last, and some between them, evenly."""
    files = sorted(folder.glob("step_*.jpg"))
    wanted = np.linspace(0, len(files) - 1, min(_MAX_STEPS, len(files))).round().astype(int)
    return [(int(files[i].stem.rpartition("_")[2]), files[i].read_bytes()) for i in wanted]

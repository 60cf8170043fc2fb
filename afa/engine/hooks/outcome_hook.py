"""Say at the end of a training which of its label maps is best, and what to do with it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from afa.engine.dist import unwrapped
from afa.models.functional import KINDS, SEG
from afa.models.segmentors.base import label_kinds
from afa.utils.home import run_text

_LEARNED_F1 = 50.0  # percent; below it, the classifier misses most of what there is
_FAR_BEHIND, _CLOSE = 0.6, 0.95  # shares of the labels' mIoU that the segmentation reaches


@HOOKS.register_module()
class OutcomeHook(Hook):
    """Read the figures of the last validation to the user, and name the command that predicts.

    A segmentation learns from labels that are made of CAMs. Where it is far behind them, it was too
    short a training for it and not for them: `predict.py --kind` uses the labels meanwhile.
    """

    priority = "LOWEST"  # after the last checkpoint

    def __init__(self) -> None:
        self._figures: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Forget the figures of an earlier training."""
        self._figures = {}

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the figures of the last validation."""
        self._figures = dict(metrics or {})

    def after_train(self, runner: Runner) -> None:
        """Say what came out."""
        kinds = label_kinds(unwrapped(runner.model))
        best = runner.message_hub.runtime_info.get("best_ckpt")
        last = runner.message_hub.runtime_info.get("last_ckpt")
        if not kinds or not last:
            return
        kind, lines = outcome(self._figures, kinds, runner.max_iters)
        saving = next((hook for hook in runner.hooks if hasattr(hook, "key_indicators")), None)
        keys = getattr(saving, "key_indicators", None) or []
        use_best = best and keys == [f"{kind}/mIoU"] and Path(str(best)).is_file()
        runner.logger.info("\n".join(["What came out:", *lines]))
        checkpoint = str(best if use_best else last)
        command = run_text("predict", checkpoint, "PHOTOS", "--kind", kind)
        runner.logger.info(f"To use it on photos: {command}")


def outcome(figures: Mapping[str, Any], kinds: list[str], max_iters: int) -> tuple[str, list[str]]:
    """Say which label maps are best, and what their figures mean.

    Args:
        figures: those of a validation, in percent: ``'seg/mIoU'``, ``'par/mIoU'``, ``'cls/F1'``.
        kinds: the kinds of label maps that the model makes, the best one last.
        max_iters: length of the training.

    Returns:
        The kind to predict with, and sentences.
    """
    found = {kind: figures.get(f"{kind}/mIoU", math.nan) for kind in kinds}
    found = {kind: value for kind, value in found.items() if not math.isnan(value)}
    lines = []
    f1 = figures.get("cls/F1", math.nan)
    if f1 < _LEARNED_F1:
        lines.append(
            f"The classifier finds few of the classes (F1 {f1:.1f}), and all labels are made from "
            f"it: train longer (--iters {2 * max_iters}), or check the image labels."
        )
    labels = {kind: value for kind, value in found.items() if kind in KINDS}
    if not found or (SEG in kinds and SEG not in found):
        lines.append(
            "No figure says how well it segments, since no masks were compared: look at the "
            "pictures in report.html."
        )
        if SEG in kinds and len(kinds) > 1:
            lines.append(
                f"Where '--kind {SEG}' looks worse than '--kind {kinds[-2]}', the segmentation "
                "has not learned its labels yet: train longer."
            )
        return kinds[-1], lines
    best = max(found, key=lambda kind: found[kind])
    if labels:
        made = max(labels, key=lambda kind: labels[kind])
        lines.append(
            f"Labels {labels[made]:.1f} mIoU ('{made}'"
            + (f"), segmentation {found[SEG]:.1f}." if SEG in found else ").")
            + " Labels of the validation know the image labels, where there are some; on new "
            "photos they have the classes that the classifier finds (--cls-thr)."
        )
    else:
        lines.append(f"Segmentation {found[SEG]:.1f} mIoU.")
        if len(kinds) > 1:
            lines.append(
                "The labels that it learns from were not measured: model.test_cfg.pseudo_labels="
                "True does it, and tells whether to train longer."
            )
    if labels and SEG in found:
        share = found[SEG] / max(labels[made], 1e-9)
        if share < _FAR_BEHIND:
            lines.append(
                "The segmentation has not learned its labels yet: train the phases with labels "
                f"longer (--iters {2 * max_iters}, another --work-dir); use the labels meanwhile."
            )
        elif share < _CLOSE:
            lines.append(
                "The segmentation is near its labels and needs no image labels: it is the one to "
                "use; a longer training may bring it closer."
            )
            best = SEG
        else:
            lines.append("The segmentation has learned what its labels show: it is the one to use.")
            best = SEG
    return best, lines

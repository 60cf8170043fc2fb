"""Scores of the image-level classifier."""

from array import array
from collections.abc import Sequence

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable


@METRICS.register_module()
class MultiLabelMetric(BaseMetric):
    """F1 score of predicted image labels, per class and as a mean, and mean average precision.

    Average precision needs every score: 5 bytes per class and image are kept, in one piece: small
    objects between the large ones that come and go with each image would keep memory from being
    used again. The figures do not depend on the order of the images, hence not on how processes
    share them out.

    Args:
        thr: probability above which a class counts as predicted.
        collect_device: not used; there for mmengine.
        prefix: what stands before the names of the figures, e.g. ``cls/F1``.
    """

    def __init__(
        self, thr: float = 0.5, collect_device: str = "cpu", prefix: str | None = "cls"
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.thr = thr
        self._scores = array("f")
        self._labels = bytearray()
        self._num_classes = 0

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the scores and labels of one batch; images without image labels are left out."""
        del data_batch
        for sample in data_samples:
            if "gt_label" in sample and "pred_label" in sample:
                self._scores.extend(sample["pred_label"].tolist())
                self._labels.extend((sample["gt_label"] > 0).tolist())
                self._num_classes = len(sample["gt_label"])

    def evaluate(self, size: int) -> dict[str, float]:
        """Give what :meth:`compute_metrics` makes of all processes' images, with the prefix."""
        del size  # every image counts once
        own: list[np.ndarray] = []
        if self._labels:
            columns = np.array(self._scores), np.frombuffer(bytes(self._labels), dtype=bool)
            own = [column.reshape(-1, self._num_classes) for column in columns]
        parts = [part for part in all_gather_object(own) if part]
        self._scores, self._labels = array("f"), bytearray()
        every = [np.concatenate(column) for column in zip(*parts, strict=True)]
        figures = self.compute_metrics(list(zip(*every, strict=True)))
        lead = f"{self.prefix}/" if self.prefix else ""
        return {f"{lead}{name}": value for name, value in figures.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Give ``F1`` (mean over the classes that occur), ``mAP`` and ``F1.<class>`` in percent.

        Args:
            results: (scores (K,), labels (K,)) of each image.

        Returns:
            Figures in percent; a class that no image has and none is predicted to have is NaN.
        """
        if not results:
            return {}
        scores, labels = (np.stack(column) for column in zip(*results, strict=True))
        predicted = scores > self.thr
        hits = (predicted & labels).sum(0)
        total = predicted.sum(0) + labels.sum(0)
        f1 = 100 * np.divide(2 * hits, total, out=np.full(len(hits), np.nan), where=total > 0)
        precision = [average_precision(s, t) for s, t in zip(scores.T, labels.T, strict=True)]
        names = self.dataset_meta["classes"][1:]
        table = PrettyTable(["Class", "F1", "AP"])
        for name, f, p in zip(names, f1, precision, strict=True):
            table.add_row([name, f"{f:.2f}", f"{100 * p:.2f}"])
        print_log(
            f"{self.prefix}: image-level classification\n{table}", MMLogger.get_current_instance()
        )
        figures = dict(F1=np.nanmean(f1), mAP=100 * np.nanmean(precision))
        figures.update({f"F1.{name}": value for name, value in zip(names, f1, strict=True)})
        return {name: round(float(value), 2) for name, value in figures.items()}


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall steps of one class, from scores (n,) and labels (n,) bool.

    Among equal scores the negatives come first, so that the order of the images does not matter.

    Returns:
        Mean of the precision at each positive, in 0..1; NaN without positives.
    """
    if not labels.any():
        return float("nan")
    hit = labels[np.lexsort((labels, -scores))]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean())

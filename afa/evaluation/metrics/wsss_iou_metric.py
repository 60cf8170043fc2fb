"""IoU of any label map of a weakly-supervised method; the counting is mmseg's."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

# Label maps that are made with the classes of gt_label where an image has them.
FROM_IMAGE_LABELS = ("pred_cam", "pred_par", "pred_propagated")


@METRICS.register_module()
class WSSSIoUMetric(IoUMetric):
    """Per-class IoU and mIoU from one confusion matrix over the set.

    Several of these stand side by side in one evaluator, one per ``field``, so that one pass over
    the images evaluates CAMs, refined and propagated labels and the segmentation.

    Args:
        field: name of the label map in the data sample: ``'pred_sem_seg'``, ``'pred_cam'``,
            ``'pred_par'`` or ``'pred_propagated'``. Images without it are left out; when none has
            it, the metric gives nothing.
        classes: names of the classes that enter the mean, for a set that lacks some; None for all.
        prefix: what stands before the names of the figures, e.g. ``seg/mIoU``.
        kwargs: arguments of mmseg's IoUMetric.
    """

    def __init__(
        self,
        field: str = "pred_sem_seg",
        classes: Sequence[str] | None = None,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix=prefix, **kwargs)
        self.field = field
        self.classes = None if classes is None else tuple(classes)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch; ``data_samples`` are the outputs of the model as dicts."""
        del data_batch
        found = [
            dict(sample, pred_sem_seg=sample[self.field])
            for sample in data_samples
            if self.field in sample
        ]
        super().process({}, found)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Give mIoU, mAcc, aAcc in percent and ``IoU.<class>``, as plain floats.

        Args:
            results: one tuple of per-class counts (intersection, union, prediction, label) per
                image.

        Returns:
            Figures in percent, NaN for a class that occurs neither in labels nor predictions.
        """
        logger = MMLogger.get_current_instance()
        if not results:
            return {}
        source = (
            "uses the true image labels where the data set gives them"
            if self.field in FROM_IMAGE_LABELS
            else "does not use the true image labels"
        )
        logger.info(f"{self.prefix or self.field}: IoU of {self.field} ({source})")
        figures = dict(super().compute_metrics(results))
        intersect, union = (sum(column) for column in list(zip(*results, strict=True))[:2])
        names = self.dataset_meta["classes"]
        per_class = (100 * intersect / union).tolist()
        if self.classes is not None:
            keep = torch.tensor([name in self.classes for name in names])
            figures["mIoU"] = (100 * intersect / union)[keep].nanmean().item()
        figures = {name: round(float(value), 2) for name, value in figures.items()}
        figures.update({f"IoU.{n}": round(v, 2) for n, v in zip(names, per_class, strict=True)})
        return figures

"""IoU of any label map of a weakly-supervised method, from one confusion matrix over the set."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from afa.evaluation.figures import areas, confusion_matrix
from afa.utils.class_names import clean_names

# Label maps that are made with the classes of gt_label where an image has them.
FROM_IMAGE_LABELS = ("pred_cam", "pred_par", "pred_propagated")


@METRICS.register_module()
class WSSSIoUMetric(IoUMetric):
    """Per-class IoU and mIoU from one confusion matrix over the set.

    Several of these stand side by side in one evaluator, one per ``field``, so that one pass over
    the images evaluates CAMs, refined and propagated labels and the segmentation. The matrix is
    all that is kept, and all that several processes exchange: their sum does not depend on how
    the images are shared out. The figures are mmseg's.

    Args:
        field: name of the label map in the data sample: ``'pred_sem_seg'``, ``'pred_cam'``,
            ``'pred_par'``, ``'pred_propagated'`` or ``'pred_crf'``. Images without it, or without
            a mask, are left out; when none has both, the metric gives nothing.
        classes: names of the classes that enter the mean, for a set that lacks some; None for all.
        prefix: what stands before the names of the figures, e.g. ``seg/mIoU``.
        kwargs: arguments of mmseg's IoUMetric, those apart that write files.

    Raises:
        ValueError: If it is asked to write files.
    """

    def __init__(
        self,
        field: str = "pred_sem_seg",
        classes: Sequence[str] | None = None,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("format_only") or kwargs.get("output_dir"):
            raise ValueError(
                "WSSSIoUMetric writes no files: use LabelPNGMetric, or tools/test.py --format-only"
            )
        super().__init__(prefix=prefix, **kwargs)
        self.field = field
        self.classes = None if classes is None else clean_names(classes, "WSSSIoUMetric.classes")
        self.confusion: Tensor | None = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch; ``data_samples`` are the outputs of the model as dicts.

        Raises:
            ValueError: If a mask has another size than its photo, or a value that is no class.
        """
        del data_batch
        for sample in data_samples:
            if self.field not in sample or "gt_sem_seg" not in sample:
                continue
            maps = (sample[name]["data"] for name in (self.field, "gt_sem_seg"))
            pred, label = (one[0] if one.ndim == 3 else one for one in maps)  # (H, W)
            try:
                counts = confusion_matrix(pred, label, self._num_classes(), self.ignore_index)
            except ValueError as error:
                file = sample.get("seg_map_path") or sample.get("img_path") or "an image"
                raise ValueError(
                    f"{file}: {error}; tools/check_dataset.py finds such files"
                ) from error
            self.confusion = counts if self.confusion is None else self.confusion + counts

    def evaluate(self, size: int) -> dict[str, float]:
        """Give what :meth:`compute_metrics` makes of all processes' images, with the prefix."""
        del size  # every image counts once
        total = self.confusion
        if total is None:
            total = torch.zeros(self._num_classes(), self._num_classes() + 1, dtype=torch.int64)
        all_reduce(total)
        self.confusion = None
        figures = self.compute_metrics([areas(total)] if total.any() else [])
        lead = f"{self.prefix}/" if self.prefix else ""
        return {f"{lead}{name}": value for name, value in figures.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Give mIoU, mAcc, aAcc in percent and ``IoU.<class>``, as plain floats.

        Args:
            results: tuples of per-class counts (intersection, union, prediction, label).

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

    def _num_classes(self) -> int:
        return len(self.dataset_meta["classes"])

"""Metrics for image labels and for label maps."""

from afa.evaluation.metrics.label_png_metric import LabelPNGMetric
from afa.evaluation.metrics.multi_label_metric import MultiLabelMetric
from afa.evaluation.metrics.wsss_iou_metric import WSSSIoUMetric

"""Evaluation; importing this registers the metrics."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.evaluation.metrics import LabelPNGMetric, MultiLabelMetric, WSSSIoUMetric

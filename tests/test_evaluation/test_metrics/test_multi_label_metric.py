import math

import numpy as np
import pytest
import torch

from afa.evaluation.metrics import MultiLabelMetric
from afa.evaluation.metrics import multi_label_metric as module
from afa.evaluation.metrics.multi_label_metric import average_precision

SCORES = [[0.9, 0.2, 0.1], [0.6, 0.7, 0.2], [0.1, 0.8, 0.3]]
LABELS = [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def _evaluate(scores, labels, **kwargs):
    metric = MultiLabelMetric(**kwargs)
    metric.dataset_meta = dict(classes=("background", "a", "b", "c"))
    for score, label in zip(scores, labels, strict=True):
        sample = dict(pred_label=torch.tensor(score), gt_label=torch.tensor(label).float())
        metric.process({}, [sample])
    return metric.evaluate(len(scores))


def test_figures_by_hand():
    figures = _evaluate(SCORES, LABELS)
    # a: 1 hit, 2 predicted, 1 true; b: 1 hit, 2 predicted, 2 true; c: nothing of either
    assert figures["cls/F1.a"] == 66.67 and figures["cls/F1.b"] == 50
    assert math.isnan(figures["cls/F1.c"])
    assert figures["cls/F1"] == 58.33
    # a: the best is true, 1; b: true ones are second and third, (1/2 + 2/3) / 2
    assert figures["cls/mAP"] == round(100 * (1 + 7 / 12) / 2, 2)


def test_threshold_and_prefix():
    figures = _evaluate(SCORES, LABELS, thr=0.65, prefix="images")
    assert figures["images/F1.a"] == 100 and figures["images/F1.b"] == 50


def test_average_precision_is_the_mean_of_the_precision_at_each_positive():
    scores, labels = np.random.rand(12), np.random.rand(12) < 0.4
    hits, precisions = 0, []
    for rank, index in enumerate(sorted(range(12), key=lambda i: -scores[i]), start=1):
        if labels[index]:
            hits += 1
            precisions.append(hits / rank)
    expected = sum(precisions) / len(precisions)
    assert average_precision(scores, labels) == pytest.approx(expected)
    assert math.isnan(average_precision(scores, np.zeros(12, dtype=bool)))


def test_equal_scores_give_one_figure_in_any_order():
    scores, labels = np.array([0.5, 0.5, 0.5, 0.9]), np.array([True, False, True, False])
    # 0.9 is wrong, then the wrong one of the three, then the right ones: 1/3 and 2/4
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2, 3]):
        assert average_precision(scores[order], labels[order]) == (1 / 3 + 2 / 4) / 2


def test_processes_share_images_and_give_the_figures_of_one(monkeypatch):
    whole = _evaluate(SCORES, LABELS)
    parts = []  # what each process hands over; the last one has no image
    for rows in (slice(0, 1), slice(1, 3), slice(3, 3)):
        monkeypatch.setattr(module, "all_gather_object", lambda own: parts.append(own) or [own])
        _evaluate(SCORES[rows], LABELS[rows])
    monkeypatch.setattr(module, "all_gather_object", lambda own: [parts[1], [], parts[0]])
    shared = _evaluate(SCORES[:1], LABELS[:1])
    assert parts[2] == []
    assert shared == pytest.approx(whole, nan_ok=True)


def test_the_next_evaluation_begins_anew():
    metric = MultiLabelMetric()
    metric.dataset_meta = dict(classes=("background", "a"))
    sample = dict(pred_label=torch.tensor([0.9]), gt_label=torch.ones(1))
    metric.process({}, [sample])
    assert metric.evaluate(1)["cls/F1"] == 100
    assert metric.evaluate(1) == {}


def test_images_without_labels_or_scores_are_left_out():
    metric = MultiLabelMetric()
    metric.process({}, [dict(pred_label=torch.rand(3)), dict(gt_label=torch.rand(3))])
    assert metric.evaluate(0) == {} and metric.compute_metrics([]) == {}

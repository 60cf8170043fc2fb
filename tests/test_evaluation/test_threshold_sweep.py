import itertools
import math

import pytest
import torch

from afa.evaluation.figures import confusion_matrix, label_figures
from afa.evaluation.threshold_sweep import (
    best_edge,
    best_row,
    sweep_rows,
    sweep_scores,
)

CLASSES = ("background", "a", "b")


def _counts(num_scores=3):
    """Counts of one image and the labels they come from."""
    truth = torch.tensor([0, 1, 2, 255])[torch.randint(4, (6, 7))]
    labels = torch.randint(3, (num_scores, 6, 7))
    return torch.stack([confusion_matrix(label, truth, 3) for label in labels]), truth, labels


@pytest.mark.parametrize(
    ("args", "scores"),
    [
        ((0.05, 0.95, 0.05), [round(0.05 * i, 2) for i in range(1, 20)]),
        ((0.0, 0.3, 0.1), [0.0, 0.1, 0.2, 0.3]),
        ((0.2, 0.45, 0.2), [0.2, 0.4]),
        ((0.4, 0.4, 0.1), [0.4]),
    ],
)
def test_scores_have_both_ends(args, scores):
    assert sweep_scores(*args) == scores


@pytest.mark.parametrize("args", [(0.5, 0.4, 0.1), (-0.1, 1, 0.1), (0, 1, 0), (0, 1, 1e-6)])
def test_ranges_without_scores_or_with_too_many_are_refused(args):
    with pytest.raises(ValueError, match=r"use e\.g\. 0\.05 0\.95 0\.05"):
        sweep_scores(*args)


def test_rows_against_a_loop_over_the_pixels():
    images = [_counts() for _ in range(4)]
    rows = sweep_rows(sum(counts for counts, _, _ in images), [0.2, 0.4, 0.6], CLASSES)
    assert [row["bkg_thr"] for row in rows] == [0.2, 0.4, 0.6]
    for t, row in enumerate(rows):
        hits, true, labelled = torch.zeros(3, 3)
        for _, truth, labels in images:
            for y, x in itertools.product(range(6), range(7)):
                if truth[y, x] != 255:
                    hits[truth[y, x]] += truth[y, x] == labels[t, y, x]
                    true[truth[y, x]] += 1
                    labelled[labels[t, y, x]] += 1
        iou = 100 * hits / (true + labelled - hits)
        assert row["mIoU"] == pytest.approx(float(iou.mean()), abs=0.006)
        assert row["IoU.b"] == pytest.approx(float(iou[2]), abs=0.006)
        assert row["precision"] == pytest.approx(
            100 * float((hits / labelled)[1:].mean()), abs=0.01
        )
        assert row["recall"] == pytest.approx(100 * float((hits / true)[1:].mean()), abs=0.01)


def test_mean_over_chosen_classes():
    counts, _, _ = _counts(1)
    (row,) = sweep_rows(counts, [0.5], CLASSES, mean_over=["background", "b"])
    figures = label_figures(counts[0], CLASSES)
    mean = (figures["IoU.background"] + figures["IoU.b"]) / 2
    assert row["mIoU"] == pytest.approx(mean, abs=0.011)
    assert row["precision"] == figures["precision.b"]


def test_best_row():
    rows = [dict(mIoU=value) for value in (math.nan, 40.0, 50.0, 50.0, 10.0)]
    assert best_row(rows) is rows[2]
    assert best_row(rows[:1]) is rows[0]


def test_best_edge():
    def edge(*values):
        return best_edge([dict(mIoU=value) for value in values])

    assert edge(50.0, 40.0, 30.0) == -1
    assert edge(30.0, 40.0, 50.0) == 1
    assert edge(40.0, 50.0, 30.0) == 0
    assert edge(50.0, 50.0, 30.0) == 0  # no better than what lies within
    assert edge(50.0, 40.0) == edge(50.0) == 0
    assert edge(math.nan, 40.0, 50.0) == 1 and edge(math.nan, math.nan, math.nan) == 0

import math

import pytest
import torch

from afa.evaluation.confusion import confusion_matrix
from afa.evaluation.label_figures import label_figures, label_table

CLASSES = ("background", "a", "b", "never")


def _figures(truth, label, **kwargs):
    counts = confusion_matrix(torch.tensor(label), torch.tensor(truth), 4)
    return label_figures(counts, CLASSES, **kwargs)


def test_figures_by_hand():
    figures = _figures([[0, 0], [1, 2]], [[0, 1], [1, 0]])
    assert figures["IoU.background"] == 33.33 and figures["IoU.a"] == 50 and figures["IoU.b"] == 0
    assert figures["mIoU"] == 27.78 and figures["aAcc"] == 50 and figures["undecided"] == 0
    assert "mIoU.decided" not in figures
    assert all(type(value) is float for value in figures.values())


def test_undecided_pixels_are_missed_but_not_false():
    figures = _figures([[0, 0, 1, 1]], [[0, 255, 1, 255]])
    assert figures["IoU.background"] == figures["IoU.a"] == figures["mIoU"] == 50
    assert figures["precision.a"] == 100 and figures["recall.a"] == 50
    assert figures["undecided"] == 50 and figures["mIoU.decided"] == 100


def test_one_matrix_over_the_set_against_a_loop():
    total, pairs = torch.zeros(4, 5, dtype=torch.int64), []
    for size in ((3, 4), (2, 2), (1, 5)):
        truth, label = (torch.tensor([0, 1, 2, 255])[torch.randint(4, size)] for _ in range(2))
        total += confusion_matrix(label, truth, 4)
        pairs += list(zip(truth.flatten().tolist(), label.flatten().tolist(), strict=True))
    pairs = [pair for pair in pairs if pair[0] != 255]
    figures, ious = label_figures(total, CLASSES), []
    for k, name in enumerate(CLASSES[:3]):
        ious.append(100 * sum(pair == (k, k) for pair in pairs) / sum(k in pair for pair in pairs))
        assert figures[f"IoU.{name}"] == pytest.approx(ious[-1], abs=0.006)
    assert figures["mIoU"] == pytest.approx(sum(ious) / 3, abs=0.006)


def test_mean_over_chosen_classes():
    truth, label = [[0, 0, 1], [1, 2, 2]], [[0, 1, 1], [1, 0, 255]]
    figures = _figures(truth, label, mean_over=["a", "never"])
    assert figures["mIoU"] == figures["IoU.a"] == figures["mIoU.decided"] == 66.67
    assert figures["undecided"] == pytest.approx(100 / 6, abs=0.006)


def test_nothing_counted_is_nan():
    figures = label_figures(torch.zeros(4, 5, dtype=torch.int64), CLASSES)
    assert math.isnan(figures["mIoU"]) and math.isnan(figures["aAcc"])


def test_table_has_a_row_for_each_class():
    text = label_table(_figures([[0, 0], [1, 2]], [[0, 1], [1, 0]]), CLASSES)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["background", "33.33", "50.00", "50.00"] in rows
    assert ["never", "-", "-", "-"] in rows

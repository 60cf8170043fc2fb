import math

import pytest
import torch

from afa.evaluation import figures as module
from afa.evaluation.figures import areas, confusion_matrix, label_figures, label_table

CLASSES = ("background", "a", "b", "never")


def test_counts_by_hand():
    label = torch.tensor([[0, 0, 1], [2, 255, 1]])
    pred = torch.tensor([[0, 1, 1], [255, 0, 1]])
    assert confusion_matrix(pred, label, 3).tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]


def test_counts_against_a_loop_in_pieces_of_any_size(monkeypatch):
    label = torch.tensor([0, 1, 2, 3, 255])[torch.randint(0, 5, (13, 11))]
    pred = torch.randint(-1, 6, (13, 11))
    wanted = torch.zeros(4, 5, dtype=torch.int64)
    for p, t in zip(pred.flatten().tolist(), label.flatten().tolist(), strict=True):
        if t != 255:
            wanted[t, p if 0 <= p < 4 else 4] += 1
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert torch.equal(confusion_matrix(pred, label, 4), wanted)
        assert torch.equal(confusion_matrix(pred, label.to(torch.uint8), 4), wanted)


def test_another_value_is_ignored():
    counts = confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 9]), 2, 9)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_areas_by_hand():
    intersect, union, predicted, true = areas(torch.tensor([[5, 1, 2], [3, 4, 0]]))
    assert intersect.tolist() == [5, 4]
    assert predicted.tolist() == [8, 5] and true.tolist() == [8, 7]
    assert union.tolist() == [11, 8]


def test_counts_beyond_what_float32_can_count():
    _, union, _, _ = areas(torch.tensor([[2**24, 1, 0], [0, 2**25, 0]]))
    assert union.tolist() == [2**24 + 1, 2**25 + 1]


def test_everything_ignored_counts_nothing():
    label = torch.full((2, 2), 255)
    assert not confusion_matrix(torch.zeros(2, 2).long(), label, 2).any()


def test_wrong_masks_are_said():
    pred = torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"prediction \(2, 2\) and mask \(2, 3\) differ in size"):
        confusion_matrix(pred, torch.zeros(2, 3), 2)
    with pytest.raises(ValueError, match=r"value 7, but labels are 0\.\.2 and 255"):
        confusion_matrix(pred, torch.tensor([[0, 7], [1, 255]]), 3)
    with pytest.raises(ValueError, match="value -2, but labels are"):
        confusion_matrix(pred, torch.tensor([[0, -2], [1, 255]]), 3)


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

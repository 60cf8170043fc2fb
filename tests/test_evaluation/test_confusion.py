import pytest
import torch

from afa.evaluation import confusion
from afa.evaluation.confusion import areas, confusion_matrix


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
        monkeypatch.setattr(confusion, "CHUNK", chunk)
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

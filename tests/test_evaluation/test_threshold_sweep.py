import itertools
import math

import pytest
import torch

from afa.evaluation.figures import confusion_matrix, label_figures
from afa.evaluation.threshold_sweep import (
    best_row,
    read_counts,
    sweep_rows,
    sweep_scores,
    write_counts,
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


def test_counts_of_an_image_survive_their_file(tmp_path):
    counts, _, _ = _counts()
    path = tmp_path / "a.npz"
    write_counts(path, [0.1, 0.2, 0.3], counts)
    found = read_counts(path, [0.1, 0.2, 0.3])
    assert found.dtype == torch.int64 and torch.equal(found, counts)
    assert read_counts(path, [0.1, 0.2]) is None  # of another sweep
    path.write_bytes(path.read_bytes()[:-40])
    assert read_counts(path, [0.1, 0.2, 0.3]) is None
    assert read_counts(tmp_path / "b.npz", [0.1]) is None


def test_a_file_is_small_however_many_classes_there_are(tmp_path):
    counts = torch.zeros((19, 81, 82), dtype=torch.int64)
    counts[:, 0, 0], counts[:, 17, 17], counts[:, 17, 0] = 90_000, 80_000, torch.arange(19)
    write_counts(tmp_path / "a.npz", range(19), counts)
    assert (tmp_path / "a.npz").stat().st_size < 3000
    assert torch.equal(read_counts(tmp_path / "a.npz", range(19)), counts)


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

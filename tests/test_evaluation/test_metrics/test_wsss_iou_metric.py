import math

import pytest
import torch
from mmseg.evaluation import IoUMetric

from afa.evaluation.metrics import WSSSIoUMetric
from afa.evaluation.metrics import wsss_iou_metric as module

CLASSES = ("background", "a", "b", "never")


def _sample(gt, **fields):
    maps = {name: dict(data=torch.tensor([value])) for name, value in fields.items()}
    return dict(gt_sem_seg=dict(data=torch.tensor([gt])), **maps)


def _evaluate(samples, **kwargs):
    metric = WSSSIoUMetric(**kwargs)
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:  # one batch each
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_iou_by_hand():
    sample = _sample([[0, 0], [1, 2]], pred_sem_seg=[[0, 1], [1, 0]])
    figures = _evaluate([sample], prefix="seg")
    assert figures["seg/IoU.background"] == 33.33 and figures["seg/IoU.a"] == 50
    assert figures["seg/IoU.b"] == 0 and math.isnan(figures["seg/IoU.never"])
    assert figures["seg/mIoU"] == 27.78 and figures["seg/aAcc"] == 50
    assert figures["seg/mAcc"] == 50  # 1/2, 1, 0
    assert all(type(value) is float for value in figures.values())


def test_one_confusion_matrix_over_the_set_against_a_loop():
    samples, pairs = [], []
    for size in ((3, 4), (2, 2), (1, 1)):
        gt = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, size)]
        pred = torch.randint(0, 3, size)
        samples.append(_sample(gt.tolist(), pred_par=pred.tolist()))
        pairs += list(zip(gt.flatten().tolist(), pred.flatten().tolist(), strict=True))
    figures = _evaluate(samples, field="pred_par", prefix="par")
    pairs = [pair for pair in pairs if pair[0] != 255]
    ious = []
    for k, name in enumerate(CLASSES[:3]):
        both = sum(gt == k and pred == k for gt, pred in pairs)
        either = sum(k in pair for pair in pairs)
        ious.append(100 * both / either)
        assert figures[f"par/IoU.{name}"] == pytest.approx(ious[-1], abs=0.006)
    assert figures["par/mIoU"] == pytest.approx(sum(ious) / 3, abs=0.006)


def test_each_metric_reads_its_own_field():
    sample = _sample([[0, 1]], pred_sem_seg=[[0, 0]], pred_cam=[[0, 1]])
    assert _evaluate([sample], field="pred_cam", prefix="cam")["cam/mIoU"] == 100
    assert _evaluate([sample], prefix="seg")["seg/mIoU"] == 25
    assert sample["pred_sem_seg"]["data"].tolist() == [[[0, 0]]]  # for the next metric


def test_a_field_that_no_image_has_gives_nothing():
    assert _evaluate([_sample([[0, 1]], pred_sem_seg=[[0, 0]])], field="pred_cam") == {}


def test_images_without_the_field_are_left_out():
    samples = [_sample([[0, 1]], pred_cam=[[0, 1]]), _sample([[0, 1]], pred_sem_seg=[[1, 0]])]
    assert _evaluate(samples, field="pred_cam", prefix="cam")["cam/mIoU"] == 100


def test_mean_over_chosen_classes():
    sample = _sample([[0, 0], [1, 2]], pred_sem_seg=[[0, 1], [1, 0]])
    figures = _evaluate([sample], prefix="seg", classes=["a", "b", "never"])
    assert figures["seg/mIoU"] == 25 and figures["seg/IoU.background"] == 33.33


def _random_samples(count, field="pred_sem_seg"):
    samples = []
    for _ in range(count):
        size = tuple(torch.randint(1, 9, (2,)).tolist())
        gt = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, size)]
        samples.append(_sample(gt.tolist(), **{field: torch.randint(0, 3, size).tolist()}))
    return samples


def test_figures_are_those_of_mmseg():
    samples = _random_samples(7)
    ours = _evaluate(samples, prefix="seg")
    theirs = IoUMetric(prefix="seg")
    theirs.dataset_meta = dict(classes=CLASSES)
    theirs.process({}, samples)
    for name, value in theirs.evaluate(len(samples)).items():
        assert ours[name] == pytest.approx(float(value), abs=0.011), name  # two decimals
    counted = [torch.stack(column).sum(0) for column in zip(*_counts(samples), strict=True)]
    for name, both, either in zip(CLASSES, counted[0], counted[1], strict=True):
        iou = 100 * both / either if either else math.nan
        assert ours[f"seg/IoU.{name}"] == pytest.approx(float(iou), abs=0.006, nan_ok=True)


def _counts(samples):
    return [
        IoUMetric.intersect_and_union(
            s["pred_sem_seg"]["data"][0], s["gt_sem_seg"]["data"][0], len(CLASSES), 255
        )
        for s in samples
    ]


def test_what_is_kept_does_not_grow_with_the_set():
    metric = WSSSIoUMetric(prefix="seg")
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in _random_samples(20):
        metric.process({}, [sample])
        assert metric.results == [] and metric.confusion.shape == (4, 5)
    metric.evaluate(20)
    assert metric.confusion is None
    assert metric.evaluate(20) == {}  # begun anew


def test_processes_sum_their_counts(monkeypatch):
    samples = _random_samples(5)
    whole = _evaluate(samples, prefix="seg")
    other = WSSSIoUMetric(prefix="seg")
    other.dataset_meta = dict(classes=CLASSES)
    other.process({}, samples[:2])
    monkeypatch.setattr(module, "all_reduce", lambda total: total.add_(other.confusion))
    assert _evaluate(samples[2:], prefix="seg") == pytest.approx(whole, nan_ok=True)
    other.process({}, samples[2:])
    # A process without any image gives the figures of the others.
    assert _evaluate([], prefix="seg") == pytest.approx(whole, nan_ok=True)


def test_images_without_mask_are_left_out():
    sample = _sample([[0, 1]], pred_sem_seg=[[0, 1]])
    without = dict(pred_sem_seg=sample["pred_sem_seg"])
    assert _evaluate([sample, without], prefix="seg")["seg/mIoU"] == 100
    assert _evaluate([without], prefix="seg") == {}


def test_a_label_map_without_leading_dimension():
    sample = _sample([[0, 1]], pred_sem_seg=[[0, 1]])
    sample["pred_sem_seg"] = dict(data=sample["pred_sem_seg"]["data"][0])  # as SegTTAModel has it
    assert _evaluate([sample], prefix="seg")["seg/mIoU"] == 100


def test_one_row_and_one_pixel():
    samples = [_sample([[0, 1, 1]], pred_sem_seg=[[0, 1, 1]]), _sample([[1]], pred_sem_seg=[[1]])]
    assert _evaluate(samples, prefix="seg")["seg/mIoU"] == 100


def test_a_wrong_mask_is_named():
    sample = dict(_sample([[0, 9]], pred_sem_seg=[[0, 1]]), seg_map_path="masks/cat.png")
    with pytest.raises(ValueError, match=r"masks/cat\.png: the mask has the value 9"):
        _evaluate([sample])


def test_files_are_written_elsewhere():
    with pytest.raises(ValueError, match="use LabelPNGMetric"):
        WSSSIoUMetric(format_only=True, output_dir="here")

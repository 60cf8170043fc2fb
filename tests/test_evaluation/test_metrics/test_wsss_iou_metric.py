import math

import pytest
import torch

from afa.evaluation.metrics import WSSSIoUMetric

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

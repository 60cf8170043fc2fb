from types import SimpleNamespace

import pytest
from mmengine.config import Config

from afa.apis.pseudo_label_options import PseudoLabelOptions
from afa.apis.pseudo_label_run import (
    background_scores,
    images_with_mask,
    loader_workers,
    mean_classes,
)

MODEL = SimpleNamespace(
    test_cfg=SimpleNamespace(bkg_thr=0.45),
    train_cfg=SimpleNamespace(bkg_thr_high=0.55, bkg_thr_low=0.35),
)


def _scores(model=MODEL, **options):
    return background_scores(
        PseudoLabelOptions(**{"split": "val", "kind": "par", **options}), model
    )


def test_background_scores():
    assert _scores() == (0.45,)
    assert _scores(bkg_thr=0.0) == (0.0,)
    assert _scores(ignore_thr=()) == (0.55, 0.35)
    assert _scores(ignore_thr=(0.6, 0.2)) == (0.6, 0.2)
    assert _scores(kind="seg") == ()


def test_a_model_without_two_scores_of_its_own_needs_them_given():
    model = SimpleNamespace(test_cfg=SimpleNamespace(bkg_thr=0.28))
    with pytest.raises(ValueError, match=r"SimpleNamespace has no train_cfg\.bkg_thr_high"):
        _scores(model, ignore_thr=())
    assert _scores(model, ignore_thr=(0.5, 0.1)) == (0.5, 0.1)


def test_images_with_mask():
    class Data(list):
        split = "train"

        def has_mask(self, index):
            return self[index]

    assert images_with_mask(Data([True, False, True])) == {0, 2}
    with pytest.raises(ValueError, match="no image of 'train' has one"):
        images_with_mask(Data([False]))


@pytest.mark.parametrize(
    ("evaluators", "expected"),
    [
        (dict(), None),
        (dict(val_evaluator=dict(type="WSSSIoUMetric")), None),
        (dict(test_evaluator=dict(type="WSSSIoUMetric", classes=["a", "b"])), ("a", "b")),
        (
            dict(val_evaluator=[dict(type="MultiLabelMetric"),
                                dict(type="WSSSIoUMetric", classes=["b"])]),
            ("b",),
        ),
    ],
)  # fmt: skip
def test_the_classes_of_the_mean_are_those_of_the_evaluation(evaluators, expected):
    assert mean_classes(Config(evaluators)) == expected


def test_data_workers_are_those_of_the_evaluation_but_at_most_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert loader_workers(Config(dict(val_dataloader=dict(num_workers=3)))) == 3
    assert loader_workers(Config(dict(test_dataloader=dict(num_workers=2)))) == 2
    assert loader_workers(Config(dict(val_dataloader=dict(num_workers=16)))) == 4
    assert loader_workers(Config(dict())) == 0

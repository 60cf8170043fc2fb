import pytest
from mmengine.config import Config

from afa.engine.config import colours
from afa.engine.config.load import import_components

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def filled(backbone, **preprocessor):
    cfg = Config(
        dict(
            custom_imports=dict(imports=["afa.models"]),
            model=dict(
                type="CAMClassifier",
                data_preprocessor=dict(type="SegDataPreProcessor", **preprocessor),
                backbone=backbone,
            ),
        )
    )
    import_components(cfg)
    return cfg.model.data_preprocessor


LITE = dict(type="TimmCNN", name="tf_efficientnet_lite0")
RESNET = dict(type="TimmCNN", name="resnet18")


@pytest.mark.parametrize(
    "backbone, mean", [(LITE, [127.5] * 3), (RESNET, pytest.approx(IMAGENET["mean"]))]
)
@pytest.mark.parametrize("given", [{}, dict(mean=None, std=None)])
def test_left_out_they_are_those_of_the_weights(backbone, mean, given):
    assert filled(backbone, **given).mean == mean


def test_a_config_that_names_none_has_none_with_other_backbones():
    assert "mean" not in filled(dict(type="MiTAttn", arch="b0"))
    assert "mean" not in filled(dict(type="TimmCNN", name="no_such"))


@pytest.fixture
def told(monkeypatch):
    seen = []
    monkeypatch.setattr(colours, "print_log", lambda text, **kwargs: seen.append(text))
    return seen


def test_other_values_stay_and_are_told(told):
    kept = filled(LITE, **IMAGENET)
    assert kept.mean == IMAGENET["mean"]
    assert len(told) == 1 and "123.675" in told[0] and "127.5" in told[0]


def test_fitting_values_are_not_told(told):
    rounded = dict(mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])
    assert filled(RESNET, **rounded).mean == rounded["mean"]
    filled(LITE, mean=[127.5] * 3, std=[127.5] * 3)
    assert not told

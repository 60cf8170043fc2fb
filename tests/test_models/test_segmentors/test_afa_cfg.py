import dataclasses

import pytest

from afa.models.segmentors.afa_cfg import AFATestCfg, AFATrainCfg
from afa.utils.settings import from_cfg


def test_defaults_are_those_of_the_paper():
    cfg = from_cfg(AFATrainCfg, None, "model.train_cfg")
    assert (cfg.bkg_thr_high, cfg.bkg_thr_low) == (0.55, 0.35)
    assert (cfg.radius, cfg.power, cfg.num_steps, cfg.propagation_scale) == (8, 2, 1, 1.5)
    assert cfg.cam_scales == (1.0, 0.5, 1.5) and cfg.refine_scale == 0.5
    assert (cfg.propagation, cfg.aff_label) == ("affinity", "pseudo")
    assert from_cfg(AFATestCfg, {}, "model.test_cfg") == AFATestCfg(False, 0.45, 0.5)


def test_values_are_taken_and_stay():
    given = dict(radius=4, propagation=None)
    cfg = from_cfg(AFATrainCfg, given, "model.train_cfg")
    assert (cfg.radius, cfg.propagation, cfg.power) == (4, None, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.radius = 5


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("bkg_thr_hihg", r"did you mean 'bkg_thr_high'\?"),
        ("raduis", r"did you mean 'radius'\?"),
        ("xyzzy", "known are cam_scales, mirror_scales, bkg_thr_high"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(key, hint):
    with pytest.raises(ValueError, match=f"model.train_cfg has no entry '{key}': {hint}"):
        from_cfg(AFATrainCfg, {key: 1}, "model.train_cfg")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (dict(cam_scales=()), r"cam_scales must be factors above 0, got \(\)"),
        (dict(cam_scales=(1.0, 0.0)), r"got \(1\.0, 0\.0\)"),
        (dict(mirror_scales=(1.0, 2.0)), r"be of cam_scales \(1\.0, 0\.5, 1\.5\), got \[2\.0\]"),
        (dict(bkg_thr_high=1.2), "train_cfg.bkg_thr_high must be between 0 and 1, got 1.2"),
        (dict(bkg_thr_low=-0.1), "train_cfg.bkg_thr_low must be between 0 and 1, got -0.1"),
        (
            dict(bkg_thr_high=0.3, bkg_thr_low=0.5),
            r"bkg_thr_low \(0\.5\) must not be above bkg_thr_high \(0\.3\): exchange them",
        ),
        (dict(propagation="affinty"), r"one of \(None, 'attention', 'affinity'\), got 'affinty'"),
        (dict(aff_label="both"), r"one of \('pseudo', 'propagated'\), got 'both'"),
        (dict(radius=-1), "radius must be 0 or more tokens, got -1"),
        (dict(refine_scale=0), "must be above 0, got 0, 1.5, 2.0 and 1"),
        (dict(num_steps=0), "got 0.5, 1.5, 2.0 and 0"),
        (dict(power=-2), "got 0.5, 1.5, -2 and 1"),
    ],
)
def test_wrong_training_settings(values, text):
    with pytest.raises(ValueError, match=text):
        AFATrainCfg(**values)


@pytest.mark.parametrize("name", ["bkg_thr", "cls_thr"])
def test_wrong_test_settings(name):
    with pytest.raises(ValueError, match=f"test_cfg.{name} must be between 0 and 1, got 45"):
        AFATestCfg(**{name: 45})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (dict(seg_logits="small"), r"one of \(None, 'head', 'full'\), got 'small'"),
        (dict(tta=True), "test_cfg.tta must be a dict of arguments, got True"),
        (dict(crf=[10]), r"test_cfg.crf must be a dict of arguments, got \[10\]"),
    ],
)
def test_wrong_settings_of_what_testing_adds(values, text):
    with pytest.raises(ValueError, match=text):
        AFATestCfg(**values)


@pytest.mark.parametrize(
    ("cfg", "text"),
    [
        (dict(radius="far"), "model.train_cfg.radius must be a whole number, got 'far'"),
        (dict(radius=2.5), "model.train_cfg.radius must be a whole number, got 2.5"),
        (dict(cam_scales=1.0), "model.train_cfg.cam_scales must be a list, got 1.0"),
        (dict(propagation=3), "model.train_cfg.propagation must be a text or None, got 3"),
    ],
)
def test_wrong_types_are_named(cfg, text):
    with pytest.raises(ValueError) as error:
        from_cfg(AFATrainCfg, cfg, "model.train_cfg")
    assert text in str(error.value)

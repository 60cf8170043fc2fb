import pytest

from afa.models.segmentors.afa_cfg import from_cfg
from afa.models.segmentors.cam_classifier_cfg import CAMClassifierTestCfg


def test_background_score_is_that_of_the_fourth_power():
    thr = CAMClassifierTestCfg().bkg_thr
    assert (1 - thr) ** 4 == pytest.approx(thr, abs=0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(bkg_thr=1.2), r"test_cfg\.bkg_thr must be between 0 and 1, got 1\.2"),
        (dict(cls_thr=-0.1), r"test_cfg\.cls_thr must be between 0 and 1, got -0\.1"),
        (dict(refine_scale=0), r"test_cfg\.refine_scale must be above 0, got 0"),
        (dict(bkg_thrs=0.3), "has no entry 'bkg_thrs': did you mean 'bkg_thr'"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        from_cfg(CAMClassifierTestCfg, values, "model.test_cfg")

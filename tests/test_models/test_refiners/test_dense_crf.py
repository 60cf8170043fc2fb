import numpy as np
import pytest
from mmseg.registry import MODELS

from afa.files.crf import CRFSettings, dense_crf
from afa.models.refiners import DenseCRF

AFA_TEST = dict(num_iters=10, pos_xy_std=3, pos_weight=3, bi_xy_std=64, bi_rgb_std=5, bi_weight=4)


def _example():
    image = np.random.randint(0, 255, (12, 14, 3), dtype=np.uint8)
    probs = np.random.rand(3, 12, 14).astype(np.float32)
    return image, probs / probs.sum(0)


def test_defaults_are_those_of_afa_at_test_time():
    assert DenseCRF().settings == CRFSettings(**AFA_TEST) == CRFSettings.AFA


def test_built_from_a_config_it_computes_with_its_settings():
    crf = MODELS.build(
        dict(type="DenseCRF", num_iters=3, bi_xy_std=80, bi_rgb_std=13, bi_weight=10)
    )
    image, probs = _example()
    refined = crf(image, probs)
    settings = dict(num_iters=3, bi_xy_std=80, bi_rgb_std=13, bi_weight=10)
    np.testing.assert_array_equal(refined, dense_crf(image, probs, CRFSettings(**settings)))
    assert np.abs(refined - DenseCRF()(image, probs)).max() > 1e-3
    assert refined.shape == probs.shape and refined.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(num_iters=-1), "whole num_iters >= 0, got -1"),
        (dict(num_iters=1.5), "whole num_iters >= 0, got 1.5"),
        (dict(bi_rgb_std=0), "bi_rgb_std > 0, got 0"),
        (dict(pos_weight=-2), "pos_weight >= 0, got -2"),
        (dict(bi_xy_std=float("nan")), "bi_xy_std > 0, got nan"),
    ],
)
def test_values_out_of_range_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        DenseCRF(**changes)


def test_repr_names_the_constants():
    assert "bi_xy_std=64" in repr(DenseCRF())

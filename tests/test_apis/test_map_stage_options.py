import pytest

from afa.apis.map_stage_options import CRF, SWEEP, MapStageOptions


def _options(**changes):
    return MapStageOptions(**{"split": "val", "kind": "k", "alphas": (16.0,), **changes})


def test_constants_of_the_crf_are_those_of_affinitynet_but_for_what_is_given():
    published = dict(
        num_iters=10, pos_xy_std=3, pos_weight=3, bi_xy_std=80, bi_rgb_std=13, bi_weight=10
    )
    assert published == CRF
    assert _options().crf_constants is None
    assert _options(crf=True).crf_constants == published and _options().max_side == 1024
    changed = _options(crf=True, crf_settings=dict(bi_xy_std=20, max_side=300))
    assert changed.crf_constants == dict(published, bi_xy_std=20) and changed.max_side == 300


def test_sweep():
    assert _options().sweep_scores == []
    assert _options(sweep=()).sweep_scores == list(SWEEP)
    assert _options(sweep=(8, 2)).sweep_scores == [2, 8]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(alphas=(0.0,)), "above 0, got 0"),
        (dict(alphas=(float("nan"),)), "above 0, got nan"),
        (dict(alphas=(16, 4)), "LOW and HIGH, got 16 and 4"),
        (dict(sweep=(4, -1)), "above 0, got -1"),
        (dict(sweep=(4, 4)), "names an alpha twice"),
        (dict(crf_settings=dict(num_iters=3)), "add --crf"),
        (dict(crf=True, crf_settings=dict(iters=3)), "no 'iters'; it takes num_iters"),
        (dict(crf=True, crf_settings=dict(num_iters="x")), "num_iters must be a number"),
        (dict(crf=True, crf_settings=dict(bi_weight=-1)), "bi_weight must be a number, 0 or more"),
        (dict(crf_workers=-1), "--crf-workers must be 0 or more"),
    ],
)
def test_wrong_options_are_said(changes, text):
    with pytest.raises(ValueError, match=text):
        _options(**changes)

from dataclasses import asdict

import pytest

from afa.files.crf import CRFSettings
from afa.labels.options import SWEEP, MapLabelOptions, PseudoLabelOptions, check_scores


def _options(**changes):
    return PseudoLabelOptions(**{"split": "val", "kind": "cam", **changes})


def test_scores_of_the_sweep():
    assert _options().sweep_scores == []
    scores = _options(sweep=()).sweep_scores
    assert scores[0] == 0.05 and scores[-1] == 0.95 and len(scores) == 19
    assert _options(sweep=(0.1, 0.3, 0.1)).sweep_scores == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(kind="cams"), "--kind must be one of cam, par, propagated, seg, got 'cams'"),
        (dict(kind="affinity"), r"got 'affinity' \('affinity' is called 'propagated' now\)"),
        (dict(restrict=True), "--restrict is for --kind seg"),
        (dict(bkg_thr=0.4, ignore_thr=()), "give only one"),
        (dict(ignore_thr=(0.4,)), "takes a HIGH and a LOW background score, .* got 1 value"),
        (dict(ignore_thr=(0.3, 0.5)), r"HIGH background score first, got 0\.3 and 0\.5"),
        (dict(bkg_thr=1.5), r"between 0 and 1, got \[1\.5\]"),
        (dict(sweep=(0.1, 0.2)), "--sweep takes LOW HIGH STEP, .* got 2 values"),
        (dict(sweep=(0.3, 0.2, 0.1)), "0 <= LOW <= HIGH"),
        (dict(crf_workers=-1), "--crf-workers must be 0 or more"),
        (dict(kind="seg", bkg_thr=0.4), "no background score, so that --bkg-thr is void"),
        (dict(kind="seg", ignore_thr=()), "--ignore-thr is void"),
        (dict(kind="seg", sweep=()), "--sweep is void"),
        (dict(kind="seg", predicted_labels=True), "only with --restrict"),
    ],
)
def test_what_does_not_fit_is_said(changes, text):
    with pytest.raises(ValueError, match=text):
        _options(**changes)


def test_what_fits_is_taken():
    _options(kind="seg", restrict=True, predicted_labels=True, crf=True, crf_workers=0)
    _options(ignore_thr=(0.5, 0.5), sweep=(0, 1, 0.5))
    check_scores(())


def _map_options(**changes):
    return MapLabelOptions(**{"split": "val", "kind": "k", "alphas": (16.0,), **changes})


def test_constants_of_the_crf_are_those_of_affinitynet_but_for_what_is_given():
    published = dict(
        num_iters=10, pos_xy_std=3, pos_weight=3, bi_xy_std=80, bi_rgb_std=13, bi_weight=10, scale=1
    )
    assert asdict(CRFSettings.AFFINITY_NET) == published
    assert _map_options().crf_constants is None
    assert _map_options(crf=True).crf_constants == CRFSettings.AFFINITY_NET
    assert _map_options().max_side == 1024
    changed = _map_options(crf=True, crf_settings=dict(bi_xy_std=20, max_side=300))
    assert asdict(changed.crf_constants) == dict(published, bi_xy_std=20)
    assert changed.max_side == 300


def test_exponents_of_the_sweep():
    assert _map_options().sweep_scores == []
    assert _map_options(sweep=()).sweep_scores == list(SWEEP)
    assert _map_options(sweep=(8, 2)).sweep_scores == [2, 8]


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
        (dict(crf=True, crf_settings=dict(num_iters=2.5)), "whole num_iters >= 0, got 2.5"),
        (dict(crf=True, crf_settings=dict(bi_weight=-1)), "bi_weight must be a number, 0 or more"),
        (dict(crf_workers=-1), "--crf-workers must be 0 or more"),
    ],
)
def test_wrong_options_of_labels_from_maps_are_said(changes, text):
    with pytest.raises(ValueError, match=text):
        _map_options(**changes)


def test_a_sweep_goes_further_to_its_limits():
    assert _options(sweep=()).wider_sweep(-1) == (0.0, 0.95, 0.05)
    assert _options(sweep=()).wider_sweep(1) == (0.05, 1.0, 0.05)
    assert _options(sweep=(0.4, 0.5, 0.02)).wider_sweep(-1) == (0.3, 0.5, 0.02)
    wider = _options(sweep=(0.4, 0.5, 0.03)).wider_sweep(1)
    assert wider == (0.4, 0.64, 0.03)  # from 0.49, its last score, five steps
    assert _options(sweep=wider).sweep_scores[:4] == [0.4, 0.43, 0.46, 0.49]
    assert _options(sweep=(0, 1, 0.5)).wider_sweep(-1) is None
    assert _options(sweep=(0, 1, 0.5)).wider_sweep(1) is None
    assert _map_options(sweep=(8, 2)).wider_sweep(-1) == [0.5, 1, 2, 8]
    assert _map_options(sweep=(8, 2)).wider_sweep(1) == [2, 8, 16, 32]

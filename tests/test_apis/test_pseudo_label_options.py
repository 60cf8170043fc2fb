import pytest

from afa.apis.pseudo_label_options import PseudoLabelOptions, check_scores


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
        (dict(kind="cams"), "--kind must be one of cam, par, affinity, seg, got 'cams'"),
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

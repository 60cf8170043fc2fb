import pytest

from afa.engine.evaluation_options import EvaluationOptions


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (dict(tta_merge="mean"), "--tta-merge has no effect without --tta"),
        (dict(crf_workers=2), "--crf-workers has no effect without --crf"),
        (dict(crf_workers=0), "--crf-workers has no effect without --crf"),
        (dict(out="here"), "--out has no effect without --format-only"),
        (dict(overwrite=True), "--overwrite has no effect without --format-only"),
        (dict(crf=True, crf_workers=-1), "--crf-workers must be 0 or more, got -1"),
    ],
)
def test_options_without_effect_or_out_of_range_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        EvaluationOptions(**given)


def test_options_that_go_together():
    EvaluationOptions()
    EvaluationOptions(tta=True, tta_merge="mean", crf=True, crf_workers=0)
    EvaluationOptions(format_only=True, out="here", overwrite=True, split="test")

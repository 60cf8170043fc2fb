from afa.models.decode_heads.loss_cfg import loss_or_default


def test_default_counts_labelled_pixels_only_and_gives_way():
    assert loss_or_default(None) == dict(type="CrossEntropyLoss", avg_non_ignore=True)
    own = dict(type="BalancedCrossEntropyLoss")
    assert loss_or_default(own) is own
    assert loss_or_default([own]) == [own]

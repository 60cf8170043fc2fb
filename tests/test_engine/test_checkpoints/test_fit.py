import pytest
import torch
from torch import nn

from afa.engine.checkpoints.fit import (
    CheckpointError,
    check_checkpoint,
    check_start,
    dataset_meta,
)


def _model():
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))


def test_own_weights_fit_with_and_without_module_prefix_and_counters():
    state = _model().state_dict()
    check_checkpoint(_model(), dict(state_dict=state), "a.pth")
    check_checkpoint(_model(), {f"module.{k}": v for k, v in state.items()}, "a.pth")
    del state["1.num_batches_tracked"]
    check_checkpoint(_model(), state, "a.pth")


def test_each_difference_is_named():
    state = _model().state_dict()
    state["0.weight"] = torch.zeros(5, 1, 1, 1)
    state["extra"] = torch.zeros(1)
    del state["1.bias"]
    with pytest.raises(CheckpointError) as error:
        check_checkpoint(_model(), state, "a.pth")
    text = str(error.value)
    assert "'a.pth' does not fit" in text and "\n" not in text
    assert "1 of 7 keys are missing (1.bias)" in text
    assert "1 keys are unknown to the model (extra)" in text
    assert "0.weight has shape (5, 1, 1, 1) instead of (3, 1, 1, 1)" in text


def test_other_classes_are_named_before_shapes():
    checkpoint = dict(state_dict={}, meta=dict(dataset_meta=dict(classes=("bg", "cat"))))
    with pytest.raises(CheckpointError, match=r"trained for 2 classes \(bg, cat\).* has 3"):
        check_checkpoint(_model(), checkpoint, "a.pth", ["bg", "dog", "cow"])


def test_a_file_without_weights_is_refused():
    with pytest.raises(CheckpointError, match="holds list"):
        check_checkpoint(_model(), [1], "a.pth")


def test_exit_status_is_one():
    assert CheckpointError("x").exit_status == 1


@pytest.mark.parametrize("state", [3, [1], "text"])
def test_a_state_dict_of_another_kind_is_named(state):
    with pytest.raises(CheckpointError, match=r"'a\.pth' is no checkpoint: its state_dict is"):
        check_checkpoint(_model(), dict(state_dict=state), "a.pth")


def test_keys_that_are_no_texts_are_unknown_ones():
    with pytest.raises(CheckpointError, match=r"1 keys are unknown to the model \(7\)"):
        check_checkpoint(_model(), {7: torch.zeros(1)}, "a.pth")


def test_meta_data_of_other_kinds_says_nothing():
    colors = [[0, 0, 0], [255, 1, 2]]
    good = dict(classes=("bg", "cat"), palette=colors, other=1)
    assert dataset_meta(dict(meta=dict(dataset_meta=good))) == dict(
        classes=["bg", "cat"], palette=colors
    )
    for bad in (3, [1], dict(classes=3, palette=[1]), dict(classes=[1], palette=[[0, 0, 256]])):
        assert dataset_meta(dict(meta=dict(dataset_meta=bad))) == {}
    assert dataset_meta(dict(meta=[])) == dataset_meta({}) == {}


def test_a_training_begins_with_weights_of_which_some_fit():
    state = _model().state_dict()
    check_start(_model(), {"0.bias": state["0.bias"], "head": torch.zeros(1)}, "a.pth")
    for none in ({"x": torch.zeros(1)}, {"0.bias": torch.zeros(9)}, {}):
        with pytest.raises(CheckpointError, match=r"No weight of 'a\.pth' fits the model"):
            check_start(_model(), dict(state_dict=none), "a.pth")


def test_classes_of_a_checkpoint_have_one_spelling_and_the_first_other_one_is_named():
    def trained(*classes):
        return dict(state_dict=_model().state_dict(), meta=dict(dataset_meta=dict(classes=classes)))

    names = ("bg", "a", "b", "c", "ch\u00e2t", "d")
    check_checkpoint(_model(), trained(*names[:4], "cha\u0302t\u200b", "d"), "a.pth", names)
    other = trained(*names[:5], "\u0501")
    with pytest.raises(CheckpointError, match=r"; '\u0501' \(\\u0501\) is 'd' here: use the"):
        check_checkpoint(_model(), other, "a.pth", names)

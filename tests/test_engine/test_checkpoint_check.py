import pytest
import torch
from torch import nn

from afa.engine.checkpoint_check import CheckpointError, check_checkpoint


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

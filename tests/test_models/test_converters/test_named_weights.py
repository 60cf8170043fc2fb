import pytest
import torch

from afa.models.converters import named_weights
from afa.models.converters.named_weights import NamedWeights


def make(**tensors):
    return NamedWeights(tensors, "Net", "their program")


def test_weights_are_taken_once_and_any_size_fits_where_asked():
    tensors = {"a": torch.ones(2, 3)}
    weights = NamedWeights(tensors, "Net", "their program")
    assert weights.take("a", (-1, 3)) is tensors["a"]
    assert weights.tensors == {} and "a" in tensors
    weights.finish()


def test_all_that_does_not_fit_is_told_at_once():
    weights = make(a=torch.ones(2, 3), b=torch.ones(4))
    assert weights.take("a", (-1, 5)).shape == (1, 5)  # a stand-in, so that the rest is looked at
    weights.take("b", (4, 1))
    weights.take("c", (1,))
    with pytest.raises(
        ValueError,
        match=r"do not fit Net \(3 problems\): a is \(2, 3\) instead of \('any', 5\), b is \(4,\) "
        r"instead of \(4, 1\), c is missing\. A checkpoint of their program is needed\.",
    ):
        weights.finish()


def test_only_the_first_five_are_named():
    weights = make()
    for name in "abcdef":
        weights.take(name, (1,))
    with pytest.raises(ValueError, match=r"\(6 problems\): a is missing, .*e is missing, \.\.\.\."):
        weights.finish()


def test_parts_below_a_prefix_and_the_rest_is_logged(monkeypatch):
    seen = []
    monkeypatch.setattr(named_weights, "print_log", lambda text, **kwargs: seen.append(text))
    weights = NamedWeights({"a.x": 1, "a.y": 2, "b": 3}, "Net", "their program")
    assert weights.take_below("a.") == {"x": 1, "y": 2}
    weights.finish()
    assert seen == ["Left out, unknown to Net: b."]

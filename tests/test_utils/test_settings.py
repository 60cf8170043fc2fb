from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
import torch

from afa.utils.settings import wrong_arguments, wrong_type


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        ("far", int, "a whole number"),
        (2.5, int, "a whole number"),
        (float("inf"), int, "a whole number"),
        ([1], float | None, "a number or None"),
        (1.0, Sequence[float], "a list"),
        ("abc", tuple[int, int], "a list"),
        (3, str | None, "a text or None"),
        (3, dict, "a dict"),
        ([1], Mapping[str, int], "a dict"),
        ("x", int | tuple[int, int], "a whole number or a list"),
    ],
)
def test_a_value_that_is_surely_wrong(value, hint, wanted):
    assert wrong_type(value, hint) == wanted


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (2, int), (2.0, int), (True, int), (2, float), (None, int), ([1, 2], tuple[int, int]),
        ("a", str), ({}, dict), ("x", Any), ("x", Callable), ("x", float | torch.Tensor),
        ("x", Literal["x"]), (object(), int), ("a", str | list[str]),
    ],
)  # fmt: skip
def test_what_may_be_right_is_not_judged(value, hint):
    assert wrong_type(value, hint) is None


class _Parent:
    def __init__(self, radius: int = 1, name: str = "a") -> None:
        pass


class _Child(_Parent):
    def __init__(self, scales: Sequence[float] = (1.0,), **kwargs: Any) -> None:
        super().__init__(**kwargs)


def test_arguments_of_parents_are_judged_and_unknown_ones_are_not():
    values = dict(scales=2, radius="far", name="b", other="x")
    # Not of this package: only texts in the place of numbers.
    assert list(wrong_arguments(_Child, values)) == [("radius", "a whole number")]
    _Child.__module__ = "afa.models.toy"
    assert sorted(wrong_arguments(_Child, values)) == [
        ("radius", "a whole number"),
        ("scales", "a list"),
    ]
    assert list(wrong_arguments(len, dict(obj=3))) == []

import re

import pytest
import torch
from torch import nn

from afa.models.backbones.pretrained import (
    NamedWeights,
    PretrainedBackbone,
    find_backbone,
    first_names,
    fit_weights,
    unwrap_state_dict,
)

ANCHORS = {"ours": re.compile(r"^(|.*\.)stem\.w$"), "theirs": re.compile(r"^(|.*\.)first\.w$")}


def find(*names, heads=()):
    """Give layout and names of the backbone in a file with these names."""
    tensors = {name: torch.ones(1) for name in names}
    layout, backbone = find_backbone(tensors, ANCHORS, "Net", "stem.w or first.w", heads)
    return layout, list(backbone)


def test_unwrapping_leaves_the_given_dict_alone():
    inner = {"w": torch.ones(1), "step": 3}
    assert list(unwrap_state_dict({"model": {"state_dict": inner}})) == ["w"]
    assert list(inner) == ["w", "step"]


def test_a_checkpoint_that_holds_itself_is_no_weights():
    state = {"step": 3}
    state["model"] = state
    with pytest.raises(ValueError, match="but got a dict with step, model"):
        unwrap_state_dict(state)


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ({}, "an empty dict"),
        ({"a": 1, 2: 3}, "a dict with a, 2"),
        ({"model": {"state_dict": {}}, "a": 1}, "an empty dict"),
        ([1], "a list"),
    ],
)
def test_what_holds_no_tensors_is_described(state, what):
    with pytest.raises(ValueError, match=f"dict of named tensors, but got {what}"):
        unwrap_state_dict(state)


def test_layout_and_prefix_are_found():
    assert find("a", "stem.w") == ("ours", ["a", "stem.w"])
    assert find("module.net.first.w", "head.w") == ("theirs", ["first.w"])
    with pytest.raises(
        ValueError, match=r"no Net: no name ends in stem\.w or first\.w; .* are a, b"
    ):
        find("a", "b")
    with pytest.raises(ValueError, match=r"several Nets, below 'a\.', 'b\.': keep one"):
        find("a.stem.w", "b.stem.w")


def test_what_is_not_the_backbone_is_left_out_and_logged(messages):
    names = ("net.stem.w", "net.head.w", "module.other.w")
    assert find(*names, heads=("head",)) == ("ours", ["stem.w"])
    assert messages == ["Left out 2 weights that are not the backbone's: head, other."]
    assert find("stem.w") == ("ours", ["stem.w"])
    assert len(messages) == 1


def test_weights_that_fit_come_back_under_the_expected_names(messages):
    expected = {"a": torch.zeros(2), "b": torch.zeros(3), "n.num_batches_tracked": torch.tensor(7)}
    given = {"b": torch.ones(3), "c": torch.ones(1), "a": torch.ones(2)}
    fitted = fit_weights(given, expected, "Net")
    assert list(fitted) == list(expected)
    assert fitted["a"] is given["a"] and fitted["b"] is given["b"]
    assert fitted["n.num_batches_tracked"] == 7  # files of an old torch do not have it
    assert messages == ["1 weights have no place in Net and are left out: c."]


def test_missing_and_misshaped_weights_are_named():
    expected = {"a": torch.zeros(2), "b": torch.zeros(3)}
    with pytest.raises(
        ValueError,
        match=r"fit Net: 1 missing \(a\), 1 of another shape \(b is \(4,\) instead of \(3,\)",
    ):
        fit_weights({"b": torch.ones(4)}, expected, "Net")


def test_optional_weights_are_missing_together_or_not_at_all(messages):
    expected = {k: torch.zeros(1) for k in ("a", "fc.w", "fc.b")}
    fitted = fit_weights({"a": torch.ones(1)}, expected, "Net", optional=("fc.w", "fc.b"))
    assert fitted["fc.w"] is expected["fc.w"]
    assert "drawn numbers in: fc.b, fc.w" in messages[0]
    with pytest.raises(ValueError, match=r"1 missing \(fc\.b\)"):
        fit_weights({"a": torch.ones(1), "fc.w": torch.ones(1)}, expected, "Net", ("fc.w", "fc.b"))


class Net(PretrainedBackbone):
    def __init__(self, num_rows=1, init_cfg=None):
        super().__init__(init_cfg)
        self.weight = nn.Parameter(torch.zeros(num_rows, 2))

    def draw_weights(self):
        self.weight.data.fill_(7.0)

    def fit(self, state):
        return fit_weights(state, self.state_dict(), "Net")


def test_weights_are_drawn_or_loaded_and_an_error_names_the_file(tmp_path):
    net = Net()
    net.init_weights()
    assert net.weight.tolist() == [[7, 7]] and net.is_init
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.full((1, 2), 3.0)}, path)
    init_cfg = dict(type="Pretrained", checkpoint=str(path))
    net = Net(init_cfg=init_cfg)
    net.init_weights()
    assert net.weight.tolist() == [[3, 3]] and net.is_init
    with pytest.raises(ValueError, match=r"net\.pth: The weights do not fit Net: 1 of another"):
        Net(2, init_cfg).init_weights()


def test_init_cfg_is_none_or_a_checkpoint():
    for wrong in (dict(type="Kaiming"), dict(type="Pretrained", checkpoint="a", prefix="b.")):
        with pytest.raises(ValueError, match="init_cfg must be None or"):
            Net(init_cfg=wrong)


def test_first_names():
    assert first_names("abc") == "a, b, c"
    assert first_names("abcd", 2) == "a, b, ..."


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


def test_parts_below_a_prefix_and_the_rest_is_logged(messages):
    weights = NamedWeights({"a.x": 1, "a.y": 2, "b": 3}, "Net", "their program")
    assert weights.take_below("a.") == {"x": 1, "y": 2}
    weights.finish()
    assert messages == ["Left out, unknown to Net: b."]

import re

import pytest
import torch
from torch import nn

from afa.models.backbones import pretrained
from afa.models.backbones.pretrained import (
    check_init_cfg,
    find_backbone,
    first_names,
    fit_weights,
    load_pretrained,
    take_backbone,
    unwrap_state_dict,
)

ANCHORS = {"ours": re.compile(r"^(|.*\.)stem\.w$"), "theirs": re.compile(r"^(|.*\.)first\.w$")}


@pytest.fixture
def messages(monkeypatch):
    seen = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: seen.append(text))
    return seen


def find(*names):
    return find_backbone(dict.fromkeys(names), ANCHORS, "Net", "stem.w or first.w")


def test_unwrapping_leaves_the_given_dict_alone():
    inner = {"w": torch.ones(1), "step": 3}
    assert list(unwrap_state_dict({"model": {"state_dict": inner}})) == ["w"]
    assert list(inner) == ["w", "step"]


@pytest.mark.parametrize(
    ("state", "what"),
    [({}, "an empty dict"), ({"a": 1, 2: 3}, "a dict with a, 2"), ([1], "a list")],
)
def test_what_holds_no_tensors_is_described(state, what):
    with pytest.raises(ValueError, match=f"dict of named tensors, but got {what}"):
        unwrap_state_dict(state)


def test_layout_and_prefix_are_found():
    assert find("a", "stem.w") == ("ours", "")
    assert find("module.net.first.w", "head.w") == ("theirs", "module.net.")
    with pytest.raises(
        ValueError, match=r"no Net: no name ends in stem\.w or first\.w; .* are a, b"
    ):
        find("a", "b")
    with pytest.raises(ValueError, match=r"several Nets, below 'a\.', 'b\.': keep one"):
        find("a.stem.w", "b.stem.w")


def test_what_is_not_the_backbone_is_left_out_and_logged(messages):
    tensors = {"net.stem.w": 1, "net.head.w": 2, "module.other.w": 3}
    assert take_backbone(tensors, "net.", heads=("head",)) == {"stem.w": 1}
    assert messages == ["Left out 2 weights that are not the backbone's: head, other."]
    assert take_backbone({"stem.w": 1}, "") == {"stem.w": 1}
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


def test_loading_names_the_file(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.full((1, 2), 3.0)}, path)
    layer = nn.Linear(2, 1, bias=False)
    load_pretrained(layer, str(path), lambda state, expected: fit_weights(state, expected, "Net"))
    assert layer.weight.tolist() == [[3, 3]]
    with pytest.raises(ValueError, match=r"net\.pth: The weights do not fit Net: 1 of another"):
        load_pretrained(
            nn.Linear(3, 1, bias=False), str(path), lambda s, e: fit_weights(s, e, "Net")
        )


def test_init_cfg_is_none_or_a_checkpoint():
    check_init_cfg(None)
    check_init_cfg(dict(type="Pretrained", checkpoint="a.pth"))
    for wrong in (dict(type="Kaiming"), dict(type="Pretrained", checkpoint="a", prefix="b.")):
        with pytest.raises(ValueError, match="init_cfg must be None or"):
            check_init_cfg(wrong)


def test_first_names():
    assert first_names("abc") == "a, b, c"
    assert first_names("abcd", 2) == "a, b, ..."

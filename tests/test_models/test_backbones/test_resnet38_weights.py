import re

import pytest
import torch
from toy_mxnet import V1, V2, array_bytes, list_bytes

from afa.models.backbones import ResNet38, pretrained
from afa.models.backbones.resnet38_weights import (
    convert_resnet38_state_dict,
    read_resnet38_file,
)

BASE = 2
KINDS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_var",
}


def mxnet_name(name):
    """Name a weight of ResNet38 as Wu et al.'s program does."""
    layer, kind = name.rsplit(".", 1)
    if layer == "conv1a":
        return "arg:conv1a_weight"
    store = "aux" if kind.startswith("running") else "arg"
    if layer == "bn7":
        return f"{store}:bn7_{KINDS[kind]}"
    level, k, what, branch = re.fullmatch(r"b(\d)(?:_(\d))?\.(conv|bn)_(\w+)", layer).groups()
    block = f"{level}b{k}" if k else f"{level}a"
    return f"{store}:{'res' if what == 'conv' else 'bn'}{block}_{branch}_" + (
        "weight" if what == "conv" else KINDS[kind]
    )


@pytest.fixture(scope="module")
def official():
    """Numbers of their own for every weight of a narrow network."""
    torch.manual_seed(0)
    state = ResNet38(base_channels=BASE).state_dict()
    return {k: torch.rand(v.shape) if v.is_floating_point() else v for k, v in state.items()}


@pytest.fixture
def mxnet(official):
    return {mxnet_name(k): v for k, v in official.items() if "num_batches" not in k}


@pytest.fixture
def messages(monkeypatch):
    seen = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: seen.append(text))
    return seen


def build(path):
    model = ResNet38(base_channels=BASE, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    model.init_weights()
    return model


def assert_same(given, expected):
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[k], v) for k, v in expected.items())


@pytest.mark.parametrize("version", [None, V1, V2])
def test_mxnet_file_fills_every_weight(official, mxnet, tmp_path, version, messages):
    for name in (  # as they stand in the published file
        "arg:res2a_branch2a_weight",
        "arg:res4b5_branch2b1_weight",
        "arg:bn7_gamma",
        "aux:bn5b2_branch2b1_moving_var",
        "arg:res6a_branch1_weight",
        "aux:bn7a_branch2b2_moving_mean",
    ):
        assert name in mxnet
    mxnet |= {"arg:linear1000_weight": torch.rand(3, 4), "arg:linear1000_bias": torch.rand(3)}
    path = tmp_path / "net-0001.params"
    data = [array_bytes(v.numpy(), version) for v in mxnet.values()]
    path.write_bytes(list_bytes(data, list(mxnet)))
    assert_same(build(path).state_dict(), official)
    assert messages == [
        "2 weights have no place in ResNet38 and are left out: arg:linear1000_weight, "
        "arg:linear1000_bias."
    ]
    other = tmp_path / "renamed.bin"  # known by its first bytes, too
    path.rename(other)
    assert read_resnet38_file(str(other)).keys() == mxnet.keys()


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("counts", [True, False])
def test_psa_names_from_any_prefix(official, tmp_path, prefix, counts, messages):
    state = {prefix + k: v for k, v in official.items() if counts or "num_batches" not in k}
    state[f"{prefix}fc8.weight"] = torch.rand(3, 4, 1, 1)
    path = tmp_path / "cls.pth"
    torch.save(state, path)
    assert_same(build(path).state_dict(), official)
    assert messages == ["1 weights have no place in ResNet38 and are left out: fc8.weight."]


def test_our_own_checkpoint_leaves_its_heads(official, tmp_path, messages):
    state = {f"backbone.{k}": v for k, v in official.items()}
    state["cls_head.classifier.weight"] = torch.rand(3, 4, 1, 1)
    path = tmp_path / "iter_9.pth"
    torch.save({"state_dict": state, "meta": {"iter": 9}}, path)
    assert_same(build(path).state_dict(), official)
    assert messages == ["Left out 1 weights that are not the backbone's: cls_head."]


def test_names_of_the_layers_are_those_of_the_published_checkpoints(official):
    blocks = {k.split(".")[0] for k in official}
    assert blocks == {
        *("conv1a", "b2", "b2_1", "b2_2", "b3", "b3_1", "b3_2", "b4"),
        *("b4_1", "b4_2", "b4_3", "b4_4", "b4_5", "b5", "b5_1", "b5_2", "b6", "b7", "bn7"),
    }
    assert {k.split(".")[1] for k in official if k.startswith("b6.")} == {
        *("bn_branch2a", "conv_branch1", "conv_branch2a", "bn_branch2b1", "conv_branch2b1"),
        *("bn_branch2b2", "conv_branch2b2"),
    }


def test_missing_and_misshaped_arrays_are_named(mxnet, tmp_path):
    del mxnet["arg:res4b3_branch2a_weight"]
    mxnet["aux:bn7_moving_var"] = torch.rand(7)
    path = tmp_path / "net.params"
    path.write_bytes(list_bytes([array_bytes(v.numpy()) for v in mxnet.values()], list(mxnet)))
    with pytest.raises(
        ValueError,
        match=r"net\.params: The weights do not fit ResNet38: 1 missing "
        r"\(b4_3\.conv_branch2a\.weight\), 1 of another shape \(bn7\.running_var is \(7,\) "
        r"instead of \(128,\)\)",
    ):
        build(path)


def test_what_is_no_resnet38_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"hold no ResNet38: no name ends in conv1a_weight"):
        convert_resnet38_state_dict({"layer1.0.conv1.weight": torch.ones(1)})
    (tmp_path / "a.params").write_bytes(b"not MXNet")
    with pytest.raises(ValueError, match=r"a\.params cannot be read: it does not begin"):
        build(tmp_path / "a.params")
    with pytest.raises(FileNotFoundError, match=r"no\.pth does not exist"):
        build(tmp_path / "no.pth")

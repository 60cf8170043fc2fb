import re

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm
from toy_mxnet import V1, V2, array_bytes, list_bytes

from afa.models.backbones import ResNet38, resnet38
from afa.models.backbones.resnet38 import (
    BasicBlock,
    BottleneckBlock,
    conv,
    convert_resnet38_state_dict,
)

BASE = 2


def make(**kwargs):
    """A network of the same build, 1/32 as wide, with statistics that are not 0 and 1."""
    model = ResNet38(base_channels=BASE, **kwargs)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def num_params_by_hand(base):
    """Count model A1's weights from its table of layers (Wu et al., table 1)."""
    total = 3 * base * 9  # conv1a

    def norm(channels):
        return 2 * channels

    def basic(i, mid, out, shortcut):
        return norm(i) + i * mid * 9 + norm(mid) + mid * out * 9 + (i * out if shortcut else 0)

    def bottleneck(i, out):
        quarter, half = out // 4, out // 2
        layers = i * quarter + quarter * half * 9 + half * out + i * out
        return layers + norm(i) + norm(quarter) + norm(half)

    i = base
    for out, mid, blocks in ((2, 2, 3), (4, 4, 3), (8, 8, 6), (16, 8, 3)):
        out, mid = out * base, mid * base
        total += basic(i, mid, out, True) + (blocks - 1) * basic(out, mid, out, False)
        i = out
    total += bottleneck(16 * base, 32 * base) + bottleneck(32 * base, 64 * base)
    return total + norm(64 * base)


@pytest.mark.parametrize("base", [BASE, 64])
def test_number_of_weights(base):
    with torch.device("meta"):
        model = ResNet38(base_channels=base)
    count = sum(p.numel() for p in model.parameters())
    assert count == num_params_by_hand(base)
    if base == 64:
        assert model.level_channels == (128, 256, 512, 1024, 2048, 4096)
        assert count == 105_070_912


@pytest.mark.parametrize("size", [(64, 48), (33, 41)])
def test_levels(size):
    feats = make(out_indices=range(6))(torch.randn(2, 3, *size))
    strides = (2, 4, 8, 8, 8, 8)
    widths = (4, 8, 16, 32, 64, 128)
    for feat, width, stride in zip(feats, widths, strides, strict=True):
        assert feat.shape == (2, width, -(-size[0] // stride), -(-size[1] // stride))
        assert feat.min() == 0  # behind a ReLU
    chosen = make()
    assert [f.shape[1] for f in chosen(torch.randn(1, 3, 16, 16))] == [16, 32, 128]


@torch.no_grad()
def test_a_level_is_what_the_next_block_starts_from():
    model = make(out_indices=(0, 1, 5)).eval()
    seen = {}
    for name in ("b3", "b4"):
        model.get_submodule(name).bn_branch2a.register_forward_hook(
            lambda module, args, out, name=name: seen.update({name: out.clamp(min=0)})
        )
    feats = model(torch.randn(1, 3, 16, 16))
    assert torch.equal(feats[0], seen["b3"]) and torch.equal(feats[1], seen["b4"])


@torch.no_grad()
def test_dilations_replace_the_strides_of_the_classification_network():
    model = make().eval()
    images = torch.randn(1, 3, 96, 72)
    dense = model(images)[-1]
    # The network as it was trained on ImageNet: b5 and b6 halve the grid, nothing is dilated.
    for name in ("b5", "b6"):
        model.get_submodule(name).conv_branch1.stride = (2, 2)
        model.get_submodule(name).conv_branch2a.stride = (2, 2)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.dilation = (1, 1)
            module.padding = tuple(size // 2 for size in module.kernel_size)
    strided = model(images)[-1]
    assert dense.shape[2:] == (12, 9) and strided.shape[2:] == (3, 3)
    assert strided.std() > 0
    torch.testing.assert_close(dense[..., ::4, ::4], strided)


@torch.no_grad()
def test_frozen_batch_norm_neither_learns_nor_counts():
    model = make(dropout_ratios=(0.0, 0.0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images = torch.randn(2, 3, 16, 16)
    expected = model.eval()(images)
    model.train()
    assert model.training and model.b6.training
    for ours, theirs in zip(model(images), expected, strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_frozen_batch_norm_has_no_gradient_and_the_rest_has():
    model = make().train()
    model(torch.randn(2, 3, 16, 16))[-1].sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == ("bn" in name), name
        assert parameter.requires_grad != ("bn" in name)
    assert model.conv1a.weight.grad.abs().sum() > 0


def test_batch_norm_learns_from_scratch():
    model = make(frozen_bn=False).train()
    before = model.b4_3.bn_branch2b1.running_mean.clone()
    model(torch.randn(2, 3, 16, 16))[-1].sum().backward()
    assert not torch.equal(before, model.b4_3.bn_branch2b1.running_mean)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("stages", "frozen"), [(0, ["conv1a"]), (1, ["conv1a", "b2"])])
def test_frozen_stages(stages, frozen):
    model = make(frozen_stages=stages, frozen_bn=False).train()
    names = {n.split(".")[0].split("_")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert names.isdisjoint(frozen) and "b3" in names
    assert model.b2_1.training != ("b2" in frozen)
    model(torch.randn(2, 3, 16, 16))[-1].sum().backward()
    assert model.conv1a.weight.grad is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(out_indices=()), r"levels 0 to 5, ascending, .* got \(\)"),
        (dict(out_indices=(3, 2)), "ascending"),
        (dict(out_indices=(2, 6)), "ascending"),
        (dict(frozen_stages=7), "frozen_stages must be -1 to 6, but got 7"),
        (dict(dropout_ratios=(0.3, 1.0)), r"two shares in \[0, 1\)"),
        (dict(base_channels=0), "at least 1, but got 0"),
        (dict(init_cfg=dict(type="Kaiming")), "init_cfg must be None or"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ResNet38(**({"base_channels": BASE} | kwargs))


@pytest.mark.parametrize("frozen_bn", [True, False])
def test_drawn_weights_with_frozen_batch_norm_are_worth_a_warning(monkeypatch, frozen_bn):
    seen = []
    monkeypatch.setattr(resnet38, "print_log", lambda text, **kwargs: seen.append(text))
    make(frozen_bn=frozen_bn)
    assert len(seen) == frozen_bn and all("set frozen_bn=False" in text for text in seen)


def test_registered():
    assert MODELS.get("ResNet38") is ResNet38


def draw(block):
    """Give every weight and statistic a number of its own."""
    for value in block.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.1)
    return block.eval()


def norm(x, state, name):
    """Batch norm with fixed statistics and ReLU, as a formula."""
    mean, var, weight, bias = (
        state[f"{name}.{kind}"][:, None, None]
        for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_basic_block_is_the_formula(stride):
    block = draw(BasicBlock(3, 5, 4, stride, (1, 2)))
    state, x = block.state_dict(), torch.randn(2, 3, 7, 6)
    activated = norm(x, state, "bn_branch2a")
    torch.testing.assert_close(block.activate(x), activated)
    branch = F.conv2d(activated, state["conv_branch2a.weight"], stride=stride, padding=1)
    branch = norm(branch, state, "bn_branch2b1")
    branch = F.conv2d(branch, state["conv_branch2b1.weight"], padding=2, dilation=2)
    # The shortcut that changes the shape starts from the activated input.
    shortcut = F.conv2d(activated, state["conv_branch1.weight"], stride=stride)
    expected = shortcut + branch
    assert expected.shape[2:] == (-(-7 // stride), -(-6 // stride))
    torch.testing.assert_close(block(x, activated), expected)


@torch.no_grad()
def test_block_of_one_shape_adds_to_its_input_itself():
    block = draw(BasicBlock(4, 2, 4))
    assert block.conv_branch1 is None
    block.conv_branch2b1.weight.zero_()
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x, block.activate(x)), x)


@torch.no_grad()
def test_bottleneck_is_the_formula():
    block = draw(BottleneckBlock(6, 8, 4, 0.5))
    state, x = block.state_dict(), torch.randn(2, 6, 5, 6)
    activated = norm(x, state, "bn_branch2a")
    branch = F.conv2d(activated, state["conv_branch2a.weight"])
    assert branch.shape[1] == 2
    branch = norm(branch, state, "bn_branch2b1")
    branch = F.conv2d(branch, state["conv_branch2b1.weight"], padding=4, dilation=4)
    assert branch.shape[1] == 4
    branch = F.conv2d(norm(branch, state, "bn_branch2b2"), state["conv_branch2b2.weight"])
    expected = F.conv2d(activated, state["conv_branch1.weight"]) + branch
    torch.testing.assert_close(block(x, activated), expected)


def test_dropout_drops_channels_in_training_only():
    block = draw(BottleneckBlock(6, 64, 1, 0.5))
    x = torch.randn(1, 6, 3, 3)
    activated = block.activate(x)
    assert torch.equal(block(x, activated), block(x, activated))
    seen = []
    block.conv_branch2b2.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    block.dropout.train()
    block(x, activated)
    dropped = (seen[0] == 0).all(dim=(2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert not torch.equal(block(x, activated), block(x, activated))


def test_conv_keeps_the_grid():
    x = torch.zeros(1, 2, 9, 8)
    for size, dilation in ((1, 1), (3, 1), (3, 4)):
        assert conv(2, 3, size, 1, dilation)(x).shape == (1, 3, 9, 8)
    assert conv(2, 3, 3, 2, 1)(x).shape == (1, 3, 5, 4)


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
    assert ResNet38(base_channels=BASE).read_file(str(other)).keys() == mxnet.keys()


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

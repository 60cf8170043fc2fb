import pytest
import torch
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from afa.models.backbones import ResNet38, resnet38

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

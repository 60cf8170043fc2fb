import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from afa.models.backbones import VGG16LargeFOV

BASE = 2


def make(**kwargs):
    model = VGG16LargeFOV(base_channels=BASE, **kwargs)
    model.init_weights()
    return model


def num_params_by_hand(base):
    total, i = 0, 3
    for width in (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16):  # 13 convolutions and fc6
        total += i * width * base * 9 + width * base
        i = width * base
    return total + i * i + i  # fc7


@pytest.mark.parametrize("base", [BASE, 64])
def test_number_of_weights(base):
    with torch.device("meta"):
        model = VGG16LargeFOV(base_channels=base)
    assert sum(p.numel() for p in model.parameters()) == num_params_by_hand(base)
    if base == 64:
        assert model.level_channels == (64, 128, 256, 512, 512, 1024)
        assert num_params_by_hand(64) == 20_483_904  # "20M" in its authors' file name


@pytest.mark.parametrize("size", [(64, 48), (33, 41)])
def test_levels(size):
    feats = make(out_indices=range(6))(torch.randn(2, 3, *size))
    for feat, width, stride in zip(feats, (2, 4, 8, 16, 16, 32), (2, 4, 8, 8, 8, 8), strict=True):
        assert feat.shape == (2, width, -(-size[0] // stride), -(-size[1] // stride))
        assert feat.min() >= 0
    assert [f.shape[1] for f in make()(torch.randn(1, 3, 16, 16))] == [8, 16, 32]


@torch.no_grad()
def test_forward_is_the_table_of_layers():
    model = make(out_indices=(3, 5)).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            value.uniform_(-0.1, 0.1)
    state, x = model.state_dict(), torch.randn(1, 3, 30, 26)
    images, pool4 = x, None

    def conv(x, name, dilation=1):
        weight = state[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, state[f"{name}.bias"], 1, padding, dilation).clamp(min=0)

    for i, count in enumerate((2, 2, 3, 3, 3), 1):
        for j in range(1, count + 1):
            x = conv(x, f"conv{i}_{j}", dilation=2 if i == 5 else 1)
        x = F.max_pool2d(x, 3, stride=2 if i < 4 else 1, padding=1)
        pool4 = x if i == 4 else pool4
    x = F.avg_pool2d(x, 3, 1, 1)
    x = conv(conv(x, "fc6", dilation=12), "fc7")
    ours = model(images)
    torch.testing.assert_close(ours[0], pool4)
    torch.testing.assert_close(ours[1], x)
    assert x.std() > 0


@torch.no_grad()
def test_field_of_view_of_fc6():
    """A change of one pixel moves pool5 around it, and fc7 there and 12 places away."""
    model = make(out_indices=(4, 5)).eval()
    for value in model.parameters():
        value.abs_()  # nothing cancels, no ReLU closes
    images = torch.ones(1, 3, 400, 400)
    changed = images.clone()
    changed[..., 200, 200] += 100
    rows = [
        (a - b).abs().amax(dim=(0, 1, 3)).gt(1e-3 * a.abs().max()).nonzero().flatten()
        for a, b in zip(model(changed), model(images), strict=True)
    ]
    pool5, fc7 = ((int(r.min()), int(r.max())) for r in rows)
    assert fc7[0] <= pool5[0] - 11 and fc7[1] >= pool5[1] + 11
    assert fc7[0] >= pool5[0] - 13 - 1 and fc7[1] <= pool5[1] + 13 + 1


def test_gradient_reaches_the_first_layer_and_dropout_follows_the_mode():
    model = make().train()
    images = torch.randn(1, 3, 32, 32)
    model(images)[-1].sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.conv1_1.weight.grad.abs().sum() > 0
    assert not torch.equal(model(images)[-1], model(images)[-1])
    model.eval()
    assert torch.equal(model(images)[-1], model(images)[-1])


@pytest.mark.parametrize(("stages", "count"), [(-1, 0), (0, 0), (2, 8), (5, 26), (6, 30)])
def test_frozen_stages(stages, count):
    model = make(frozen_stages=stages).train()
    assert [p.requires_grad for p in model.parameters()] == [False] * count + [True] * (30 - count)
    assert model.dropout.training == (stages < 6)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(out_indices=(5, 4)), "out_indices must be levels 0 to 5, ascending"),
        (dict(dropout_ratio=1.0), r"share in \[0, 1\), but got 1\.0"),
        (dict(frozen_stages=-2), "frozen_stages must be -1 to 6, but got -2"),
        (dict(base_channels=0), "at least 1, but got 0"),
        (dict(init_cfg=dict(type="Normal")), "init_cfg must be None or"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        VGG16LargeFOV(**({"base_channels": BASE} | kwargs))


def test_registered():
    assert MODELS.get("VGG16LargeFOV") is VGG16LargeFOV

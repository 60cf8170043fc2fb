import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torchvision.models import vgg16

from afa.models.backbones import VGG16LargeFOV
from afa.models.backbones.vgg16_largefov import CONVS, convert_vgg16_state_dict

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


CONV_NAMES = [name for level in CONVS for name in level]
INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture(scope="module")
def ours():
    torch.manual_seed(0)
    state = VGG16LargeFOV(base_channels=BASE).state_dict()
    return {k: torch.rand(v.shape) for k, v in state.items()}


@pytest.fixture
def theirs(ours):
    """A narrow VGG16 under torchvision's names: 64 hidden numbers, four times ours divided by 2."""
    state = {}
    for index, name in zip(INDICES, CONV_NAMES, strict=True):
        for kind in ("weight", "bias"):
            state[f"features.{index}.{kind}"] = ours[f"{name}.{kind}"]
    hidden = 4 * 32
    state["classifier.0.weight"] = torch.rand(hidden, 16 * 49)
    state["classifier.0.bias"] = torch.rand(hidden)
    state["classifier.3.weight"] = torch.rand(hidden, hidden)
    state["classifier.3.bias"] = torch.rand(hidden)
    state["classifier.6.weight"] = torch.rand(10, hidden)
    state["classifier.6.bias"] = torch.rand(10)
    return state


def load(state, path):
    torch.save(state, path)
    model = VGG16LargeFOV(
        base_channels=BASE, init_cfg=dict(type="Pretrained", checkpoint=str(path))
    )
    model.init_weights()
    return model.state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_torchvision_fills_every_weight(ours, theirs, tmp_path, prefix, messages):
    loaded = load({prefix + k: v for k, v in theirs.items()}, tmp_path / "vgg16.pth")
    for name in CONV_NAMES:
        assert torch.equal(loaded[f"{name}.weight"], ours[f"{name}.weight"])
        assert torch.equal(loaded[f"{name}.bias"], ours[f"{name}.bias"])
    assert messages == [
        "2 weights have no place in VGG16LargeFOV and are left out: classifier.6.weight, "
        "classifier.6.bias."
    ]
    # Every fourth row; of the 7 x 7 places the first, the middle and the last of each side.
    fc6 = theirs["classifier.0.weight"]
    for row, channel, y, x in ((0, 0, 0, 0), (1, 3, 1, 2), (31, 15, 2, 2), (7, 9, 2, 0)):
        column = channel * 49 + (0, 3, 6)[y] * 7 + (0, 3, 6)[x]
        assert loaded["fc6.weight"][row, channel, y, x] == fc6[4 * row, column]
    assert torch.equal(loaded["fc6.bias"], theirs["classifier.0.bias"][::4])
    assert torch.equal(loaded["fc7.weight"][..., 0, 0], theirs["classifier.3.weight"][::4, ::4])
    assert torch.equal(loaded["fc7.bias"], theirs["classifier.3.bias"][::4])


def test_torchvision_itself_has_these_names_and_shapes():
    with torch.device("meta"):
        state = vgg16(weights=None).state_dict()
        expected = VGG16LargeFOV().state_dict()
    converted = convert_vgg16_state_dict(
        state, expected["fc6.weight"].shape, expected["fc7.weight"].shape
    )
    assert {k: converted[k].shape for k in expected} == {k: v.shape for k, v in expected.items()}
    assert set(converted) - set(expected) == {"classifier.6.weight", "classifier.6.bias"}


def test_features_alone_leave_the_large_layers_drawn(theirs, tmp_path, messages):
    state = {k: v for k, v in theirs.items() if k.startswith("features")}
    loaded = load(state, tmp_path / "features.pth")
    assert torch.equal(loaded["conv5_3.weight"], state["features.28.weight"])
    assert loaded["fc6.weight"].std() > 0
    assert messages == [
        "The file does not have, and training begins with drawn numbers in: fc6.bias, fc6.weight, "
        "fc7.bias, fc7.weight."
    ]


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_caffe_names_and_our_own(ours, tmp_path, prefix):
    state = {prefix + k: v for k, v in ours.items()} | {"head.w": torch.ones(1)}
    loaded = load({"state_dict": state}, tmp_path / "own.pth")
    assert loaded.keys() == ours.keys()
    assert all(torch.equal(loaded[k], v) for k, v in ours.items())


def test_what_does_not_fit_is_named(theirs, tmp_path):
    wrong = dict(theirs)
    del wrong["features.14.bias"]
    wrong["features.5.weight"] = torch.rand(5, 2, 3, 3)
    with pytest.raises(
        ValueError,
        match=r"a\.pth: The weights do not fit VGG16LargeFOV: 1 missing \(conv3_3\.bias\), 1 of "
        r"another shape \(conv2_1\.weight is \(5, 2, 3, 3\) instead of \(4, 2, 3, 3\)\)",
    ):
        load(wrong, tmp_path / "a.pth")
    small = theirs | {"classifier.0.weight": torch.rand(9, 5), "classifier.0.bias": torch.rand(9)}
    with pytest.raises(ValueError, match=r"2 of another shape \(fc6\.weight is \(9, 5\) instead"):
        load(small, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"VGG with batch norm: those of vgg16 are needed"):
        load(theirs | {"features.1.running_mean": torch.rand(2)}, tmp_path / "bn.pth")
    with pytest.raises(ValueError, match=r"hold no VGG16: no name ends in features\.0\.weight"):
        load({"conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")

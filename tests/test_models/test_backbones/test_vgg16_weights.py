import pytest
import torch
from torchvision.models import vgg16

from afa.models.backbones import VGG16LargeFOV, pretrained
from afa.models.backbones.vgg16_weights import conv_names, convert_vgg16_state_dict

BASE = 2
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
    for index, name in zip(INDICES, conv_names(), strict=True):
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


@pytest.fixture
def messages(monkeypatch):
    seen = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: seen.append(text))
    return seen


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
    for name in conv_names():
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

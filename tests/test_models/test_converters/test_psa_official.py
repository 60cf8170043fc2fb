import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from afa.engine.checkpoints.fit import check_checkpoint
from afa.models.backbones import ResNet38
from afa.models.converters.psa_official import convert_file, convert_psa_official
from afa.utils.checkpoint import load_state

BASE, K = 2, 3
LEVELS = (16, 32, 128)


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    model = ResNet38(base_channels=BASE)
    model.init_weights()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and "bn" in name:
            value.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture
def classifier(backbone):
    """A checkpoint as their classifier leaves it."""
    return backbone.state_dict() | {"fc8.weight": torch.randn(K, 128, 1, 1)}


@pytest.fixture
def affinity(backbone):
    """A checkpoint as their AffinityNet leaves it."""
    state = dict(backbone.state_dict())
    for name, channels, out in zip(("f8_3", "f8_4", "f8_5"), LEVELS, (2, 4, 6), strict=True):
        state[f"{name}.weight"] = torch.randn(out, channels, 1, 1) / channels
    state["f9.weight"] = torch.randn(12, 12, 1, 1)
    return state


def build(**cfg):
    return MODELS.build(cfg | dict(backbone=dict(type="ResNet38", base_channels=BASE))).eval()


def save_and_convert(state, tmp_path):
    torch.save(state, tmp_path / "theirs.pth")
    model, count = convert_file(tmp_path / "theirs.pth", tmp_path / "new" / "ours.pth")
    checkpoint = load_state(tmp_path / "new" / "ours.pth")
    assert len(checkpoint["state_dict"]) == count
    assert checkpoint["meta"]["converted_from"] == "theirs.pth"
    assert checkpoint["meta"]["model"] == model
    return model, checkpoint


@torch.no_grad()
def test_classifier_computes_what_theirs_does(backbone, classifier, tmp_path, messages):
    name, checkpoint = save_and_convert(classifier, tmp_path)
    assert name == "CAMClassifier" and checkpoint["meta"]["num_classes"] == K + 1
    head = dict(type="CAMHead", in_channels=128, num_classes=K + 1, pooling="avg")
    model = build(type=name, cls_head=head)
    check_checkpoint(model, checkpoint, "ours.pth")
    model.load_state_dict(checkpoint["state_dict"])
    images = torch.randn(2, 3, 32, 24)
    feat = backbone(images)[-1]
    out = model(images, mode="tensor")
    # Average pooling and a 1x1 convolution without bias, either before the other.
    maps = F.conv2d(feat, classifier["fc8.weight"])
    torch.testing.assert_close(out["cam"], maps)
    torch.testing.assert_close(out["cls_logits"], maps.mean(dim=(2, 3)))
    assert messages == []  # every weight has been used


@torch.no_grad()
def test_affinity_net_computes_what_theirs_does(backbone, affinity, tmp_path, messages):
    name, checkpoint = save_and_convert(affinity, tmp_path)
    assert name == "AffinityNet" and "num_classes" not in checkpoint["meta"]
    head = dict(type="FeatureAffinityHead", in_channels=LEVELS, channels=(2, 4, 6), radius=2)
    model = build(type=name, affinity_head=head)
    check_checkpoint(model, checkpoint, "ours.pth")
    model.load_state_dict(checkpoint["state_dict"])
    images = torch.randn(1, 3, 40, 32)
    levels = [
        F.elu(F.conv2d(feat, affinity[f"{name}.weight"]))
        for feat, name in zip(backbone(images), ("f8_3", "f8_4", "f8_5"), strict=True)
    ]
    feat = F.elu(F.conv2d(torch.cat(levels, dim=1), affinity["f9.weight"]))[0]
    found = model.affinity(images)[0]
    for p, (dy, dx) in enumerate(model.affinity_head.offsets):
        for y, x in ((0, 2), (1, 1), (2, 2)):
            expected = (-(feat[:, y, x] - feat[:, y + dy, x + dx]).abs().mean()).exp()
            torch.testing.assert_close(found[p, y, x], expected)
    assert found.std() > 0 and messages == []


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_module_prefix_wrapper_and_old_files_without_counts(classifier, wrapper):
    state = {f"module.{k}": v for k, v in classifier.items() if "num_batches" not in k}
    _, converted = convert_psa_official({wrapper: state} if wrapper else state)
    _, expected = convert_psa_official(classifier)
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[k], v) for k, v in expected.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b4_2.conv_branch2a.weight": None}, r"do not fit ResNet38: 1 missing \(b4_2\.conv_br"),
        ({"bn7.bias": torch.ones(3)}, r"bn7\.bias is \(3,\) instead of \(128,\)"),
        ({"conv1a.weight": None}, r"hold no ResNet38"),
        ({"conv1a.weight": torch.ones(())}, r"instead of"),
        (
            {"fc8.weight": torch.ones(K, 9, 1, 1)},
            r"do not fit CAMClassifier \(1 problems\): fc8\.weight is \(3, 9, 1, 1\) instead of "
            r"\('any', 128, 1, 1\)\. A checkpoint of the AffinityNet authors' program is needed",
        ),
        ({"fc8.weight": None}, r"but this one has neither; its first names are conv1a\.weight"),
        ({"f9.weight": torch.ones(1)}, r"but this one has both"),
    ],
)
def test_what_does_not_fit_is_named(classifier, change, message):
    state = {k: v for k, v in (classifier | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        convert_psa_official(state)


def test_parts_of_affinity_net_must_go_together(affinity):
    with pytest.raises(ValueError, match=r"f9\.weight is \(12, 12, 1, 1\) instead of \(11, 11,"):
        convert_psa_official(affinity | {"f8_4.weight": torch.ones(3, 32, 1, 1)})
    del affinity["f8_5.weight"]
    with pytest.raises(ValueError, match=r"\(1 problems\): f8_5\.weight is missing"):
        convert_psa_official(affinity)


def test_what_has_no_place_is_named(classifier, messages):
    convert_psa_official(classifier | {"fc8.bias": torch.ones(K), "queue": torch.ones(1)})
    assert messages == [
        "1 weights have no place in ResNet38 and are left out: queue.",
        "Left out, unknown to CAMClassifier: fc8.bias.",
    ]


def test_the_file_is_named(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: A checkpoint of the AffinityNet authors'"):
        convert_file(tmp_path / "other.pth", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()

import pytest
import torch
from toy_afa import make_afa, make_inputs

from afa.models.losses.affinity_loss import affinity_loss
from afa.models.utils import affinity_label, pack_present, present_classes, radius_mask, random_walk
from afa.testing.plain_labels import (
    plain_affinity,
    plain_affinity_label,
    plain_affinity_loss,
    plain_cams,
    plain_pseudo_label,
    plain_walk,
    plain_window,
)


@pytest.fixture(scope="module")
def made():
    model = make_afa().eval()
    model.cls_head.classifier.weight.data.mul_(10)
    inputs, labels = make_inputs(2, 64, 48), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    return model, inputs, labels, plain_cams(model, inputs, labels)


def test_cams_and_affinity_are_those_of_the_model(made):
    model, inputs, labels, (cams, affinities) = made
    class_idx = present_classes(labels)
    fast, affinity, grid = model.compute_cams(inputs, class_idx, with_affinity=True)
    torch.testing.assert_close(pack_present(cams, class_idx), fast, rtol=1e-3, atol=1e-4)
    assert not cams[0, 1].any() and not cams[1, 0].any()
    assert set(affinities) == {0.5, 1.0, 1.5} and affinities[1.5][1] == grid
    torch.testing.assert_close(affinities[1.5][0], affinity, rtol=1e-4, atol=1e-5)


def test_labels_are_those_of_the_model(made):
    model, inputs, labels, (cams, affinities) = made
    cfg = model.train_cfg
    affinity, grid = affinities[cfg.propagation_scale]
    images, boxes = model.rgb_images(inputs), [(0, 64, 0, 48), (5, 60, 0, 31)]
    transitions = [plain_walk(one, grid, cfg.radius, cfg.power) for one in affinity]
    expected = model.make_labels(inputs, labels, boxes)
    pseudo = plain_pseudo_label(model, cams, labels, images, boxes)
    propagated = plain_pseudo_label(model, cams, labels, images, boxes, transitions, grid)
    for key, plain in (("pseudo", pseudo), ("propagated", propagated)):
        assert (plain == expected[key]).float().mean() > 0.999, key
        assert (plain[1, :5] == 255).all() and len(plain.unique()) > 2


def test_walk_is_the_fast_one():
    affinity, maps = torch.rand(1, 12, 12), torch.rand(1, 2, 3, 4)
    walked = maps.flatten(2) @ plain_walk(affinity[0], (3, 4), 1, 3.0).t()
    torch.testing.assert_close(walked.view_as(maps), random_walk(maps, affinity, 1, 3.0))


def test_affinity_labels_and_loss_are_the_fast_ones():
    label = torch.randint(0, 3, (2, 8, 12))
    label[0, :3] = 255
    pairs = plain_affinity_label(label, (4, 6), 2)
    assert torch.equal(pairs, affinity_label(label, (4, 6), 2))
    affinity = torch.rand(2, 24, 24)
    torch.testing.assert_close(
        plain_affinity_loss(affinity, pairs), affinity_loss(affinity, pairs), rtol=1e-5, atol=1e-6
    )
    assert plain_affinity_loss(affinity, torch.full_like(pairs, 255)) == 0
    assert torch.equal(plain_window((4, 6), 2, label.device).bool(), radius_mask((4, 6), 2))


def test_affinity_by_hand(made):
    model = made[0]
    attn = torch.zeros(1, 16, 2, 2)
    attn[0, 3, 0, 1] = 2.0
    weight, bias = model.affinity_head.proj.weight.flatten()[3], model.affinity_head.proj.bias
    found = plain_affinity(model, attn)[0]
    torch.testing.assert_close(found[0, 1], torch.sigmoid(2 * weight + bias)[0])
    torch.testing.assert_close(found[0, 1], found[1, 0])

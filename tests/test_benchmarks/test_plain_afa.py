import math

import pytest
import torch
from toy_afa import make_afa, make_inputs, make_samples, total

from afa.models.backbones import MiTAttn
from afa.models.functional import (
    affinity_label,
    pack_present,
    present_classes,
    radius_mask,
    random_walk,
)
from afa.models.losses.affinity_loss import affinity_loss
from afa.models.losses.dense_energy_loss import dense_energy
from plain_afa import (
    last_attention,
    plain_affinity,
    plain_affinity_label,
    plain_affinity_loss,
    plain_cams,
    plain_dense_energy,
    plain_encode,
    plain_losses,
    plain_pseudo_label,
    plain_seg_loss,
    plain_walk,
    plain_window,
    train_step,
)

LABELS = [[1, 0, 1], [0, 1, 0]]
BOXES = [(0, 64, 0, 50), (10, 64, 0, 64)]


def test_features_and_attention_are_those_of_the_backbone():
    torch.manual_seed(0)
    backbone = MiTAttn("b0", drop_path_rate=0.5)
    backbone.init_weights()
    images = torch.randn(2, 3, 64, 96)
    feats, attn = backbone(images, with_attn=True, drop_path=False)
    plain, every = plain_encode(backbone, images, use_drop_path=False)
    for one, other in zip(plain, feats, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert len(every) == 8 and every[0].shape == (2, 1, 16 * 24, 2 * 3)
    torch.testing.assert_close(last_attention(backbone, every), attn, rtol=1e-4, atol=1e-5)


def test_drop_path_is_a_matter_of_training():
    backbone = MiTAttn("b0", drop_path_rate=0.9).train()
    images = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    dropped = plain_encode(backbone, images)[0][-1]
    torch.manual_seed(0)
    torch.testing.assert_close(dropped, backbone(images)[-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(dropped, plain_encode(backbone.eval(), images)[0][-1])


@pytest.fixture(scope="module")
def made():
    model = make_afa().eval()
    model.cls_head.classifier.weight.data.mul_(10)
    inputs, labels = make_inputs(2, 64, 48), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    return model, inputs, labels, plain_cams(model, inputs, labels)


def test_cams_and_affinity_are_those_of_the_model(made):
    model, inputs, labels, (cams, affinities) = made
    class_idx = present_classes(labels)
    fast, walk = model.cams_and_walk(inputs, class_idx, with_walk=True)
    torch.testing.assert_close(pack_present(cams, class_idx), fast, rtol=1e-3, atol=1e-4)
    assert not cams[0, 1].any() and not cams[1, 0].any()
    assert set(affinities) == {0.5, 1.0, 1.5} and affinities[1.5][1] == walk.grid
    torch.testing.assert_close(affinities[1.5][0], walk.affinity, rtol=1e-4, atol=1e-5)


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


def test_seg_loss_by_hand():
    logits = torch.tensor([[[[0.0, 2.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    label = torch.tensor([[[0, 0, 1]]])
    log2, log_e2 = torch.log(torch.tensor(2.0)), torch.log1p(torch.exp(torch.tensor(-2.0)))
    expected = 0.5 * ((log2 + log_e2) / 2 + log2)
    torch.testing.assert_close(plain_seg_loss(logits, label), expected)
    assert plain_seg_loss(logits, torch.full((1, 1, 3), 255)) == 0  # not NaN


def test_energy_by_hand():
    prob = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    image, keep = torch.zeros(3, 1, 2), torch.tensor([[1.0, 0.5]])
    image[0, 0, 1] = 3.0
    near = math.exp(-0.5 * (1 / 4 + 9 / 9))  # one pixel, three levels apart
    # Both pixels with themselves, and the pair twice: 1 - sum of p_i p_j is 0, 1/2 and 1/2.
    expected = 0 + 0.25 * 0.5 + 2 * 0.5 * near * 0.5
    found = plain_dense_energy(prob, image, keep, sigma_rgb=3, sigma_xy=2)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_fast_energy_is_near_and_rows_do_not_matter():
    torch.manual_seed(0)
    prob = torch.randn(3, 32, 40).softmax(0).requires_grad_()
    image, keep = 255 * torch.rand(3, 32, 40), torch.rand(32, 40)
    exact = plain_dense_energy(prob, image, keep, 15.0, 50.0)
    (grad,) = torch.autograd.grad(exact, prob)
    fast = dense_energy(prob, image, keep, 15.0, 50.0)
    (fast_grad,) = torch.autograd.grad(fast, prob)
    assert fast.item() == pytest.approx(exact.item(), rel=0.15)
    assert torch.cosine_similarity(grad.flatten(), fast_grad.flatten(), dim=0) > 0.9
    some = plain_dense_energy(prob, image, keep, 15.0, 50.0, rows=100)
    torch.testing.assert_close(some, exact)


def test_losses_and_gradients_are_those_of_the_model():
    model = make_afa(backbone__drop_path_rate=0.0).train()
    model.cls_head.classifier.weight.data.mul_(10)
    inputs, labels = make_inputs(2, 64, 64), torch.tensor(LABELS).float()
    grads = []
    for losses in (
        plain_losses(model, inputs, labels, BOXES),
        model(inputs, make_samples(LABELS, BOXES), mode="loss"),
    ):
        model.zero_grad()
        total(losses).backward()
        grads.append((losses, [p.grad.clone() for p in model.parameters()]))
    (plain, plain_grads), (fast, fast_grads) = grads
    assert set(plain) == set(fast) == {"loss_cls", "loss_seg", "loss_aff"}
    for key, value in plain.items():
        torch.testing.assert_close(fast[key], value, rtol=1e-4, atol=1e-6)
    for one, other in zip(fast_grads, plain_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-5)


def test_train_step_moves_against_the_gradient():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    train_step(optimizer, dict(loss_cls=weight * 3, loss_seg=weight))
    assert weight.item() == 2 - 0.5 * 4

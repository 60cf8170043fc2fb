"""No batch may give NaN: empty, tiny, all padding, all of one kind; in every phase and variant."""

import pytest
import torch
from toy_afa import PHASES, gradients, make_afa, make_inputs, make_samples, total

VARIANTS = {
    "full": dict(),
    "no_refiner": dict(refiner=None),
    "no_propagation": dict(train_cfg__propagation=None),
    "attention": dict(train_cfg__propagation="attention", affinity_head=None),
    "propagated_pairs": dict(train_cfg__aff_label="propagated"),
    "regulariser": dict(loss_reg=dict(type="DenseEnergyLoss")),
}
SITUATIONS = {
    # height, width, image labels, boxes
    "no_class": (32, 32, [[0, 0, 0], [0, 0, 0]], None),
    "one_image_without_class": (32, 32, [[1, 0, 1], [0, 0, 0]], None),
    "one_pixel": (1, 1, [[1, 0, 1], [0, 1, 0]], None),
    "tiny": (5, 3, [[1, 0, 1], [0, 1, 0]], None),
    "all_padding": (32, 32, [[1, 0, 1], [0, 1, 0]], [(0, 0, 0, 0), (4, 4, 0, 32)]),
    "one_pixel_of_image": (32, 32, [[1, 1, 1], [0, 1, 0]], [(0, 1, 0, 1), (31, 32, 31, 32)]),
}


def _check(model, inputs, samples):
    """Run a step of every phase; return the losses of the last."""
    for phase in PHASES:
        model.zero_grad()
        model.set_phase(phase)
        losses = model.loss(inputs, samples)
        assert all(loss.isfinite() for loss in losses.values()), (phase, losses)
        total(losses).backward()
        bad = [name for name, grad in gradients(model).items() if not grad.isfinite().all()]
        assert not bad, (phase, bad)
    return losses


@pytest.fixture(scope="module", params=VARIANTS)
def model(request):
    return make_afa(**VARIANTS[request.param]).train()


@pytest.mark.parametrize("situation", SITUATIONS)
def test_losses_and_gradients_are_finite(model, situation):
    height, width, labels, boxes = SITUATIONS[situation]
    losses = _check(model, make_inputs(2, height, width), make_samples(labels, boxes))
    if situation == "all_padding":
        assert all(value == 0 for key, value in losses.items() if key != "loss_cls")


@pytest.mark.parametrize("thr", [0.0, 1.0])
def test_foreground_only_and_background_only(thr):
    model = make_afa(train_cfg__bkg_thr_high=thr, train_cfg__bkg_thr_low=thr)
    model.cls_head.classifier.weight.data.abs_()
    if thr == 0:  # features of one sign give CAMs that are nowhere 0, except at their minimum
        model.refiner.num_iters = 15
    inputs = make_inputs()
    made = model.make_labels(inputs, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    kinds = set(made["propagated"].unique().tolist())
    assert kinds == ({1, 2} if thr == 0 else {0})
    _check(model, inputs, make_samples([[1, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (32, 48)])
@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 0, 1]])
def test_prediction_is_finite(size, labels):
    model = make_afa(test_cfg=dict(pseudo_labels=True)).eval()
    samples = make_samples([labels], ori_shape=size, img_shape=size)
    with torch.no_grad():
        (sample,) = model.predict(make_inputs(1, *size), samples)
    assert sample.pred_label.isfinite().all()
    assert sample.pred_propagated.data.shape == (1, *size)

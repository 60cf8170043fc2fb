from unittest.mock import Mock

import pytest
import torch
from toy_afa import make_afa, make_inputs, make_samples

from afa.models.functional import present_classes, refined_label, resize_maps, soft_masks
from afa.models.segmentors.soft_maps_mixin import PRED_FIELDS

LABELS = [[1, 0, 1], [0, 1, 0]]


def _tuned(**changes):
    """CAMs of a drawn classifier are nearly flat: larger weights."""
    model = make_afa(**changes).eval()
    torch.manual_seed(1)
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    return model


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        (dict(), ("cam", "par", "propagated")),
        (dict(refiner=None), ("cam", "propagated")),
        (dict(train_cfg__propagation=None), ("cam", "par")),
        (dict(train_cfg__propagation="attention", refiner=None), ("cam", "propagated")),
    ],
)
def test_kinds_are_those_the_model_can_make(changes, kinds):
    model = make_afa(**changes).eval()
    assert model.map_kinds == kinds
    class_idx = present_classes(torch.tensor(LABELS))
    for kind in kinds:
        masks = model.soft_maps(make_inputs(), class_idx, kind, [0.3, 0.6])
        assert masks.shape[:3] == (2, 2, 3)
    for kind in set(PRED_FIELDS) - set(kinds):
        with pytest.raises(ValueError, match=f"makes no '{kind}' maps"):
            model.soft_maps(make_inputs(), class_idx, kind, [0.3])


def test_soft_maps_are_those_of_the_pieces():
    model, inputs = _tuned(), make_inputs(height=48, width=64)
    class_idx = present_classes(torch.tensor(LABELS))
    cams, affinity, grid = model.compute_cams(inputs, class_idx, with_affinity=True)
    refine, walk = model._refine(inputs), model._walk(affinity, grid)

    def masks(size):  # the softmax behind the resize
        return soft_masks(resize_maps(cams, size), class_idx, 0.45)

    for kind, expected in (
        ("cam", masks((48, 64))),
        ("par", refine(masks((24, 32)))),
        ("propagated", refine(resize_maps(walk(masks(grid)), (48, 64)))),
    ):
        found = model.soft_maps(inputs, class_idx, kind, [0.45])[:, 0]
        torch.testing.assert_close(found, expected)


def test_what_a_kind_does_not_need_is_not_computed(monkeypatch):
    model, class_idx = make_afa().eval(), present_classes(torch.tensor(LABELS))
    weights = Mock(wraps=model.refiner.weights)
    monkeypatch.setattr(model.refiner, "weights", weights)
    head = Mock(wraps=model.affinity_head.forward)
    monkeypatch.setattr(model.affinity_head, "forward", head)
    model.soft_maps(make_inputs(), class_idx, "cam", [0.5])
    assert (weights.call_count, head.call_count) == (0, 0)
    model.soft_maps(make_inputs(), class_idx, "par", [0.5, 0.4])
    assert (weights.call_count, head.call_count) == (1, 0)
    maker = model.map_maker(make_inputs(), class_idx)
    for kind in model.map_kinds:
        maker(kind, [0.2, 0.4])
    assert (weights.call_count, head.call_count) == (2, 1)


def test_predicted_labels_are_made_of_the_soft_maps():
    model = _tuned(test_cfg=dict(pseudo_labels=True, bkg_thr=0.4))
    inputs = make_inputs(height=32, width=48)
    samples = make_samples(LABELS, ori_shape=(40, 70), img_shape=(32, 48))
    with torch.no_grad():
        out = model(inputs, samples, mode="predict")
    class_idx = present_classes(torch.tensor(LABELS))
    for kind, field in PRED_FIELDS.items():
        masks = model.soft_maps(inputs, class_idx, kind, [0.4])[:, 0]
        expected = refined_label(masks, class_idx, (40, 70))
        assert torch.equal(torch.cat([sample.get(field).data for sample in out]), expected)
        assert len(expected.unique()) > 1

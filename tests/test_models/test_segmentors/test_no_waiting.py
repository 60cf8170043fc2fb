"""A training step asks a GPU for nothing, which would mean to wait for it.

Tensors on the device "meta" have no values: whoever asks for one gets an error.
"""

from contextlib import nullcontext

import pytest
import torch
from toy_afa import make_afa, make_inputs, make_samples, total

LABELS = [[1, 0, 1], [0, 1, 0]]


@pytest.fixture
def without_values(monkeypatch):
    """A model, its inputs and samples on a device without values."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    model = make_afa(loss_reg=dict(type="DenseEnergyLoss")).train().to("meta")
    samples = [sample.to("meta") for sample in make_samples(LABELS, num_labels=2)]
    return model, make_inputs().to("meta"), samples


@pytest.mark.parametrize("phase", ["cls", "pseudo", "propagated"])
def test_a_step_asks_for_no_value(without_values, phase):
    model, inputs, samples = without_values
    model.set_phase(phase)
    losses = model.loss(inputs, samples)
    assert len(losses) == (1 if phase == "cls" else 4)
    total(losses).backward()
    assert model.backbone.patch_embed1.proj.weight.grad is not None


def test_without_the_count_of_labels_it_has_to_ask(without_values):
    model, inputs, samples = without_values
    for sample in samples:
        sample.set_metainfo(dict(num_labels=None))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        model.loss(inputs, samples)

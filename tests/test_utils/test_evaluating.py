import random

import numpy as np
import pytest
import torch
from torch import nn

from afa.utils.evaluating import evaluating, keep_random_state


def _draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def _seed():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def test_random_states_are_given_back_also_after_an_error():
    _seed()
    expected = _draw()
    _seed()
    with keep_random_state():
        _draw()
    assert _draw() == expected
    _seed()
    with pytest.raises(KeyError), keep_random_state():
        np.random.seed(5)
        torch.manual_seed(5)
        random.seed(5)
        raise KeyError
    assert _draw() == expected


def test_every_part_gets_its_own_mode_back():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout()))
    model.phase = "cls"
    model.train()
    model[0].eval()  # a frozen norm layer
    model[0].weight.requires_grad_(False)
    with pytest.raises(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        model.phase = "propagated"
        raise KeyError
    assert torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert model.phase == "cls" and not model[0].weight.requires_grad


def test_buffers_stay_as_they_are():
    model = nn.BatchNorm1d(2).train()
    before = model.running_mean.clone()
    with evaluating(model):
        model(torch.randn(8, 2) + 5)
    assert torch.equal(model.running_mean, before)

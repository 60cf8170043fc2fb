import logging

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from afa.engine import bf16_optim_wrapper
from afa.engine.bf16_optim_wrapper import BF16OptimWrapper


def _pair(cls):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, cls(optimizer=torch.optim.AdamW(model.parameters(), lr=0.1))


def test_it_is_registered():
    assert OPTIM_WRAPPERS.get("BF16OptimWrapper") is BF16OptimWrapper


def test_forward_is_bfloat16_and_weights_stay_float32():
    model, wrapper = _pair(BF16OptimWrapper)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 3))
        assert out.dtype == torch.bfloat16
        loss = out.float().sum()
    wrapper.update_params(loss)
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    assert model(torch.ones(1, 3)).dtype == torch.float32


def test_a_pass_without_gradient_first_does_not_stop_learning():
    model, wrapper = _pair(BF16OptimWrapper)
    with wrapper.optim_context(model):
        with torch.no_grad():
            model(torch.ones(1, 3))
        loss = model(torch.ones(1, 3)).float().sum()
    loss.backward()
    assert torch.equal(model.weight.grad, torch.ones(2, 3))


def test_state_goes_from_one_wrapper_to_the_other_and_back():
    for source, target in ((OptimWrapper, BF16OptimWrapper), (BF16OptimWrapper, OptimWrapper)):
        model, wrapper = _pair(source)
        wrapper.update_params(model(torch.ones(1, 3)).sum())
        _, other = _pair(target)
        other.load_state_dict(wrapper.state_dict())
        state = other.state_dict()["state"][0]["exp_avg"]
        assert torch.equal(state, wrapper.state_dict()["state"][0]["exp_avg"])


def test_gradients_accumulate():
    model, _ = _pair(OptimWrapper)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    wrapper = BF16OptimWrapper(optimizer=optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    before = model.weight.detach().clone()
    for step in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 3)).float().sum()
        wrapper.update_params(loss)
        assert torch.equal(model.weight, before) is (step == 0)
    assert torch.allclose(model.weight, before - 1)


@pytest.mark.parametrize("has_units", [False, True])
def test_a_cpu_that_only_imitates_bfloat16_is_said(monkeypatch, has_units):
    said = []
    monkeypatch.setattr(bf16_optim_wrapper, "_has_bf16_units", lambda: has_units)
    monkeypatch.setattr(
        bf16_optim_wrapper, "print_log", lambda text, logger, level: said.append((level, text))
    )
    _pair(BF16OptimWrapper)
    assert len(said) == (not has_units)
    if said:
        assert said[0][0] == logging.WARNING and "has no bfloat16 units" in said[0][1]


@pytest.mark.parametrize(
    ("machine", "bf16", "amx", "units"),
    [
        ("x86_64", False, False, False),
        ("x86_64", True, False, True),
        ("AMD64", False, True, True),
        ("aarch64", False, False, True),  # torch does not tell
    ],
)
def test_units_of_a_cpu(monkeypatch, machine, bf16, amx, units):
    monkeypatch.setattr(bf16_optim_wrapper.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert bf16_optim_wrapper._has_bf16_units() is units

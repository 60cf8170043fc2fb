import os

import pytest
import torch
from torch import nn
from toy_afa import make_afa, make_inputs, make_samples

from gpu_checks import CHECKS, NOT_ON_CPU, Figure, run_check
from no_waits import no_waits

DEVICE = os.environ.get("AFA_TEST_DEVICE", "")


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in NOT_ON_CPU])
def test_rehearsal_without_gpu(name, tmp_path, alone):
    found = run_check(name, "cpu", tmp_path)
    assert found["outcome"] == "passed", found["said"]
    assert found["figures"] and found["what"] and found["seconds"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not DEVICE.startswith("cuda"), reason="needs a GPU and AFA_TEST_DEVICE=cuda")
@pytest.mark.parametrize("name", CHECKS)
def test_on_a_gpu(name, tmp_path, alone):
    found = run_check(name, DEVICE, tmp_path)
    if found["outcome"] == "not here":
        pytest.skip(found["said"])
    assert found["outcome"] == "passed", found["said"]


def test_a_check_fails_for_a_figure_or_an_error(tmp_path, monkeypatch):
    def raises(device, work):
        torch.zeros(2).reshape(3)

    monkeypatch.setitem(CHECKS, "par", lambda device, work: [Figure("far", 2.0, 1.0)])
    monkeypatch.setitem(CHECKS, "losses", raises)
    assert run_check("par", "cpu", tmp_path)["said"] == "far 2 above 1"
    found = run_check("losses", "cpu", tmp_path)
    assert found["outcome"] == "failed" and "test_gpu_checks.py" in found["said"]
    assert found["said"].startswith("RuntimeError: shape '[3]' is invalid")


def test_no_number_is_no_pass(tmp_path, monkeypatch):
    monkeypatch.setitem(CHECKS, "par", lambda device, work: [Figure("x", float("nan"), 1.0)])
    assert run_check("par", "cpu", tmp_path)["outcome"] == "failed"


@pytest.mark.parametrize("name", NOT_ON_CPU)
def test_what_a_cpu_cannot_check(name, tmp_path):
    found = run_check(name, "cpu", tmp_path)
    assert found["outcome"] == "not here" and found["said"]


class _Waiting(nn.Module):
    """Reads a value in its loss, or copies to the GPU in every step."""

    def __init__(self, how):
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.ones(3))

    def parse_losses(self, losses):
        return losses["loss"], {}

    def forward(self, inputs, samples, mode):
        loss = (inputs * self.weight).sum()
        if self.how == "read" and float(loss.detach()) > 0:
            loss = loss * 2
        if self.how == "select":
            loss = inputs[inputs > 0].sum()
        if self.how == "copy":
            loss = loss * torch.tensor([1.0, 2.0]).to(inputs.device).sum()
        return dict(loss=loss)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("read", "reads a value of the GPU"),
        ("select", "reads a value of the GPU"),
        ("copy", r"copy from cpu to meta of \(2,\)"),
    ],
)
def test_what_waits_is_found(how, said):
    def batch(device):
        return torch.empty(2, 3, device=device), []

    no_waits(_Waiting(None), batch, None, "cpu")
    with pytest.raises(AssertionError, match=said):
        no_waits(_Waiting(how), batch, None, "cpu")


def test_without_the_count_of_labels_a_step_has_to_ask():
    def batch(device):
        samples = make_samples([[1, 0, 1], [0, 1, 0]], num_labels=count)
        return make_inputs().to(device), [sample.to(device) for sample in samples]

    count = 2
    no_waits(make_afa().train(), batch, "pseudo", "cpu")
    count = None
    with pytest.raises(AssertionError, match="reads a value of the GPU"):
        no_waits(make_afa().train(), batch, "pseudo", "cpu")

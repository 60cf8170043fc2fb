import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import afa
from afa.models.refiners import PAR
from afa.models.refiners.par_triton import has_triton, uses_triton

# A process of its own: Triton reads TRITON_INTERPRET when it is imported.
_SCRIPT = """
import sys, types
import torch
for name in ("afa.models", "afa.models.refiners"):  # without importing mmseg
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[3] + name[3:].replace(".", "/")]
from afa.models.refiners import par_triton
images, cases = torch.load(sys.argv[1], weights_only=True)
out = []
for masks, offsets, position, dtype in cases:
    assert par_triton.uses_triton(images.device)
    weights = par_triton.triton_weights(images, offsets, position, 0.3, dtype)
    before = masks.clone()
    out.append((weights, par_triton.triton_average(masks, weights, offsets, 2)))
    assert torch.equal(masks, before)
torch.save(out, sys.argv[2])
"""


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_kernels_are_the_torch_version(tmp_path):
    images = 255 * torch.rand(2, 3, 9, 17)
    images[1, 1] = 7.0  # a flat channel has no spread
    pars = [PAR(2, (1, 30)), PAR(2, (2,), dtype="bfloat16")]
    masks = [torch.rand(2, num, 9, 17) for num in (3, 17)]
    cases = [
        (m, par.offsets, par._position_weights(images.device), par.dtype)
        for par, m in zip(pars, masks, strict=True)
    ]
    torch.save((images, cases), tmp_path / "in.pt")
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    script = [sys.executable, "-c", _SCRIPT, str(tmp_path / "in.pt"), str(tmp_path / "out.pt")]
    script.append(str(Path(afa.__file__).parent))
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    for par, mask, (weights, refined) in zip(pars, masks, found, strict=True):
        expected = par.weights(images)
        assert weights.dtype == par.dtype and refined.dtype == torch.float32
        near = dict(rtol=1e-4, atol=1e-6) if par.dtype == torch.float32 else dict(rtol=0, atol=0.05)
        torch.testing.assert_close(weights, expected, **near)
        torch.testing.assert_close(refined, par.refine(mask, expected), **near)


def test_cpu_uses_torch():
    assert not uses_triton(torch.device("cpu"))


def test_without_triton_cuda_uses_torch(monkeypatch):
    assert uses_triton(torch.device("cuda")) == has_triton()
    monkeypatch.setattr("afa.models.refiners.par_triton.has_triton", lambda: False)
    assert not uses_triton(torch.device("cuda"))

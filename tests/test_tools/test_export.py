import runpy
import sys

import pytest
import torch
from mmengine.config import Config
from toy_predict import write_checkpoint, write_config

from afa.engine.checkpoint_config import plain_config


@pytest.fixture
def run(repo, monkeypatch, capsys):
    """Run the tool in this process, where the imports are: status, stdout, stderr."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["export.py", *map(str, args)])
        monkeypatch.delenv("AFA_DEBUG", raising=False)
        status = 0
        try:
            runpy.run_path(str(repo / "tools/model_converters/export.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return call


def test_a_checkpoint_alone_or_with_its_config(run, tmp_path):
    pytest.importorskip("safetensors")
    config, checkpoint = write_config(tmp_path), write_checkpoint(tmp_path)
    out = tmp_path / "w.safetensors"
    status, _, error = run(checkpoint, out)
    assert status == 2 and "carries no config" in error
    status, said, _ = run(checkpoint, out, "--config", config)
    assert status == 0 and f"{out}: " in said
    state = torch.load(checkpoint, weights_only=True)
    state["meta"]["plain_config"] = plain_config(Config.fromfile(config))
    torch.save(state, checkpoint)
    status, _, error = run(checkpoint, out)
    assert status == 2 and "is there already: give another name, or --overwrite" in error
    assert run(checkpoint, out, "--overwrite")[0] == 0


def test_other_endings_are_refused(run, tmp_path):
    status, _, error = run("nowhere.pth", tmp_path / "w.bin")
    assert status == 2 and "is neither .safetensors nor .onnx" in error

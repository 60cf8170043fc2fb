from functools import partial

import pytest
import torch
from mmengine.config import Config
from toy_predict import write_checkpoint, write_config

from afa.engine.checkpoints.carried_config import plain_config


@pytest.fixture
def run(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "model_converters/export.py")


def test_a_checkpoint_alone_or_with_its_config(run, tmp_path):
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

from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from toy_afa import afa_cfg, make_samples

from afa.engine.step_dump import write_step_dump
from afa.utils.evaluating import random_states


@pytest.fixture
def run(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "analysis_tools/replay_step.py")


def test_both_losses_are_shown(run, tmp_path):
    cfg = Config(dict(model=afa_cfg(data_preprocessor__size=(32, 32))))

    class Runner:
        iter, rank = 4, 0

    runner = Runner()
    runner.cfg, runner.model = cfg, MODELS.build(cfg.model)
    runner.model.set_phase("cls")
    samples = make_samples([[1, 0, 0]], boxes=[(0, 32, 0, 32)], img_id="photo_1")
    batch = dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)], data_samples=samples)
    losses = dict(loss_cls=float("nan"))
    path = write_step_dump(tmp_path / "x.pth", runner, batch, random_states(), losses)
    status, said, error = run(path)
    assert status == 0, error
    assert "Iteration 4, process 0: photo_1" in said
    assert "loss_cls: 0." in said and "(in the run: nan)" in said


def test_another_file_is_one_sentence(run, tmp_path):
    torch.save({}, tmp_path / "x.pth")
    status, _, error = run(tmp_path / "x.pth")
    assert status == 2 and "is no step that NonFiniteHook wrote" in error
    assert "Traceback" not in error

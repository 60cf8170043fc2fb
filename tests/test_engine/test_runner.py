import json
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from safetensors.torch import save
from toy_hub import COMMIT, REPO, hub_at
from toy_run import ToyModel, losses

from afa.engine.checkpoints.fit import CheckpointError
from afa.engine.config.check import ConfigError
from afa.engine.runner import build_runner


def _checkpoint(cfg, name="iter_3.pth"):
    return str(Path(cfg.work_dir) / name)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_run_has_the_curve_of_the_run_in_one_piece(toy_cfg, tmp_path, num_workers):
    toy_cfg.train_dataloader.num_workers = num_workers
    whole = build_runner(toy_cfg)
    whole.train()
    cfg = toy_cfg.copy()
    cfg.work_dir = str(tmp_path / "resumed")
    resumed = build_runner(cfg, resume=_checkpoint(toy_cfg))
    resumed.train()
    assert resumed.iter == 6
    assert losses(resumed) == losses(whole)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


def test_resume_auto_takes_the_latest_checkpoint(toy_cfg):
    toy_cfg.train_cfg.max_iters = 3
    build_runner(toy_cfg).train()
    toy_cfg.train_cfg.max_iters = 6
    runner = build_runner(toy_cfg, resume="auto")
    runner.train()
    assert (
        "resumed epoch: 0, iter: 3" in Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    )


def test_resume_auto_without_a_checkpoint_starts_fresh_and_says_so(toy_cfg):
    runner = build_runner(toy_cfg, resume="auto")
    assert runner._resume is False
    log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    assert "starts from the beginning" in log


def test_resume_of_a_missing_checkpoint_is_refused(toy_cfg):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'nowhere\.pth' to resume"):
        build_runner(toy_cfg, resume="nowhere.pth")


def test_weights_of_the_hub_are_pinned_before_anything_is_built(toy_cfg, tmp_path, monkeypatch):
    state = build_runner(toy_cfg).model.state_dict()
    files = {"a.safetensors": save({name: value + 1 for name, value in state.items()})}
    toy_cfg.load_from = f"hf://{REPO}/a.safetensors"
    with hub_at(files, tmp_path, monkeypatch):
        runner = build_runner(toy_cfg)
        pinned = f"hf://{REPO}@{COMMIT}/a.safetensors"
        assert runner.cfg.load_from == runner._load_from == pinned
        assert pinned in Path(runner.work_dir, f"{runner.timestamp}.py").read_text()
        runner.load_or_resume()
        assert all(torch.equal(v, state[k] + 1) for k, v in runner.model.state_dict().items())
        toy_cfg.load_from = f"hf://{REPO}/b.safetensors"
        with pytest.raises(ValueError, match=r"no such file; its files of weights are a\.safet"):
            build_runner(toy_cfg)


def test_resume_auto_does_not_take_initial_weights_for_a_checkpoint(toy_cfg, tmp_path):
    weights = tmp_path / "weights.pth"
    runner = build_runner(toy_cfg)
    torch.save(runner.model.state_dict(), weights)
    toy_cfg.load_from = str(weights)
    runner = build_runner(toy_cfg, resume="auto")
    assert (runner._resume, runner._load_from) == (False, str(weights))


def test_log_shows_loss_rate_time_left_and_memory(toy_cfg):
    runner = build_runner(toy_cfg)
    runner.train()
    log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    lines = re.findall(r"Iter\(train\).*", log)
    assert len(lines) == 6
    assert re.search(r"lr: \S+  eta: \d:\d\d:\d\d .*memory: \d+  .*loss_toy: \d", lines[-1])
    scalars = [
        json.loads(line)
        for line in Path(runner.log_dir, "vis_data", "scalars.json").read_text().splitlines()
    ]
    assert all(line["memory"] > 10 for line in scalars if "loss" in line)


def test_amp_switches_the_optimizer_wrapper_and_trains_on_cpu(toy_cfg):
    runner = build_runner(toy_cfg, amp=True)
    runner.train()
    assert type(runner.optim_wrapper).__name__ == "BF16OptimWrapper"
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())


def test_amp_replaces_amp_optim_wrapper_with_its_arguments(toy_cfg):
    toy_cfg.optim_wrapper.update(type="AmpOptimWrapper", loss_scale="dynamic")
    assert build_runner(toy_cfg, amp=True).cfg.optim_wrapper.type == "BF16OptimWrapper"


def test_amp_refuses_an_unknown_wrapper(toy_cfg):
    toy_cfg.optim_wrapper.type = "ApexOptimWrapper"
    with pytest.raises(ValueError, match="--amp replaces an OptimWrapper"):
        build_runner(toy_cfg, amp=True)


def test_config_is_checked_first_and_left_as_it_was(toy_cfg):
    before = toy_cfg.pretty_text
    toy_cfg.trian_cfg = dict()
    with pytest.raises(ConfigError, match="did you mean 'train_cfg'"):
        build_runner(toy_cfg)
    assert not Path(toy_cfg.work_dir).exists()
    toy_cfg.pop("trian_cfg")
    build_runner(toy_cfg)
    assert toy_cfg.pretty_text == before


def test_sync_bn_is_dropped_on_cpu(toy_cfg):
    toy_cfg.sync_bn = "torch"
    toy_cfg.model.toy_head.norm_cfg = dict(type="SyncBN", requires_grad=True)
    runner = build_runner(toy_cfg)
    assert "sync_bn" not in runner.cfg
    assert runner.cfg.model.toy_head.norm_cfg.type == "BN"


def test_checkpoint_of_another_model_is_refused(toy_cfg, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(dict(state_dict={"backbone.weight": torch.zeros(2)}), path)
    toy_cfg.load_from = str(path)
    with pytest.raises(CheckpointError, match="keys are missing"):
        build_runner(toy_cfg, stage="test")


def test_cudnn_tries_ways_in_training_alone(toy_cfg, monkeypatch):
    seen, validate = [], ToyModel.val_step

    def train_step(model, *args, **kwargs):
        seen.append(("train", torch.backends.cudnn.benchmark))
        return BaseModel.train_step(model, *args, **kwargs)

    def val_step(model, *args, **kwargs):
        seen.append(("val", torch.backends.cudnn.benchmark))
        return validate(model, *args, **kwargs)

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(ToyModel, "train_step", train_step)
    monkeypatch.setattr(ToyModel, "val_step", val_step)
    toy_cfg.env_cfg, toy_cfg.rehearse = dict(cudnn_benchmark=True), False
    build_runner(toy_cfg).train()
    assert set(seen) == {("train", True), ("val", False)}
    assert seen[0][0] == "train" and torch.backends.cudnn.benchmark


def test_gpus_multiply_in_tf32_unless_told_and_a_repeatable_run_has_its_workspace(
    toy_cfg, monkeypatch
):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    try:
        build_runner(toy_cfg)
        assert all(switch.allow_tf32 for switch in switches)
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        toy_cfg.env_cfg = dict(tf32=False)
        toy_cfg.randomness = dict(seed=0, deterministic=True)
        build_runner(toy_cfg)
        assert not any(switch.allow_tf32 for switch in switches)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


def test_stage_must_be_known(toy_cfg):
    with pytest.raises(ValueError, match="stage must be one of train, val, test"):
        build_runner(toy_cfg, stage="demo")


@pytest.mark.parametrize("stage", ["val", "test"])
def test_images_are_not_repeated_to_give_every_process_as_many(toy_cfg, stage):
    loader = toy_cfg[f"{stage}_dataloader"]
    loader.sampler.round_up = True
    build_runner(toy_cfg)  # the config itself stays
    assert loader.sampler.round_up is True
    cfg = build_runner(toy_cfg).cfg
    assert cfg[f"{stage}_dataloader"].sampler.round_up is False
    assert "round_up" not in cfg.train_dataloader.sampler

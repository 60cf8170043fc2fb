"""Every count of a scaled run is compared with a value by hand, and rates with those of the run."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, PolyLR

from afa.engine.config.iterations import scale_iterations
from afa.engine.config.load import load_config

ROOT = Path(__file__).resolve().parents[3]
VOC = str(ROOT / "configs/afa/afa_mit-b1_2xb2-20k_voc12aug-512x512.py")


def toy(**changes):
    cfg = Config(
        dict(
            max_iters=100,
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=100, val_interval=25, val_begin=50),
            param_scheduler=[
                dict(type="LinearLR", by_epoch=False, begin=0, end=11),
                dict(type="PolyLR", by_epoch=False, begin=10, end=101),
            ],
            default_hooks=dict(
                checkpoint=dict(
                    type="CheckpointHook", interval=30, save_begin=20, max_keep_ckpts=1
                ),
                logger=dict(type="LoggerHook", interval=50),
            ),
            custom_hooks=[
                dict(type="PhaseHook", phases=dict(cls=0, pseudo=20, propagated=60)),
                dict(type="WSSSVisualizationHook", interval=50, num_images=4),
                dict(type="EMAHook", begin_iter=40, interval=1),
            ],
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def test_everything_moves_together():
    cfg = toy()
    scale_iterations(cfg, 1000)
    assert cfg.train_cfg == dict(
        type="IterBasedTrainLoop", max_iters=1000, val_interval=250, val_begin=500
    )
    assert cfg.max_iters == 1000
    spans = [(one.begin, one.end) for one in cfg.param_scheduler]
    assert spans == [(0, 101), (100, 1001)]  # the warm-up still overlaps by one
    assert cfg.default_hooks.checkpoint == dict(
        type="CheckpointHook", interval=300, save_begin=200, max_keep_ckpts=1
    )
    assert cfg.default_hooks.logger.interval == 50
    phases, pictures, ema = cfg.custom_hooks
    assert phases.phases == dict(cls=0, pseudo=200, propagated=600)
    assert (pictures.interval, pictures.num_images) == (500, 4)
    assert (ema.begin_iter, ema.interval) == (400, 1)  # averages at every iteration all the same


def test_a_short_run_is_validated_as_often_and_logs_ten_lines():
    cfg = toy()
    scale_iterations(cfg, 10)
    assert cfg.train_cfg.val_interval == 3  # 3, 6, 9, 10: not more often than 25, 50, 75, 100
    assert cfg.default_hooks.logger.interval == 1
    assert cfg.default_hooks.checkpoint.interval == 3
    assert [(one.begin, one.end) for one in cfg.param_scheduler] == [(0, 2), (1, 11)]
    assert cfg.custom_hooks[0].phases == dict(cls=0, pseudo=2, propagated=6)


def test_the_same_number_changes_nothing():
    cfg = load_config(VOC)
    again = load_config(VOC, iters=20000)
    assert again._cfg_dict == cfg._cfg_dict


@pytest.mark.parametrize("iters", [2000, 40000])
def test_the_rate_of_the_voc_recipe_keeps_its_shape(iters):
    def rates(cfg):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        kinds = dict(LinearLR=LinearLR, PolyLR=PolyLR)
        schedules = []
        for one in cfg.param_scheduler:
            arguments = {name: value for name, value in one.items() if name != "type"}
            schedules.append(kinds[one["type"]](optimizer, **arguments))
        found = []
        for _ in range(cfg.train_cfg.max_iters):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            for schedule in schedules:
                schedule.step()
        return found

    plain, scaled = rates(load_config(VOC)), rates(load_config(VOC, iters=iters))
    assert len(scaled) == iters and min(scaled[1:]) > 0
    share = 20000 / iters
    for index in range(0, iters, iters // 100):
        assert scaled[index] == pytest.approx(plain[int(index * share)], abs=2e-4)


def test_other_schedules_and_intervals_that_change():
    cfg = toy(**{"train_cfg.dynamic_intervals": [(50, 10)]})
    cfg.param_scheduler = dict(
        generator=dict(type="MultiStepLR", by_epoch=False, milestones=[50, 75]),
        critic=[dict(type="CosineAnnealingLR", by_epoch=False, T_max=90, begin=10, end=100)],
    )
    scale_iterations(cfg, 200)
    assert cfg.param_scheduler.generator.milestones == [100, 150]
    critic = cfg.param_scheduler.critic[0]
    assert (critic.T_max, critic.begin, critic.end) == (180, 20, 200)
    assert cfg.train_cfg.dynamic_intervals == [(100, 20)]


def test_options_go_over_what_was_scaled():
    cfg = load_config(VOC, iters=2000, options={"train_cfg.val_interval": 7})
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (2000, 7)
    with pytest.raises(ValueError, match=r"--iters and --cfg-options train_cfg\.max_iters: give o"):
        load_config(VOC, iters=2000, options={"train_cfg.max_iters": 7})


def test_what_cannot_be_scaled_is_said():
    with pytest.raises(ValueError, match="--iters must be 1 or more, got 0"):
        scale_iterations(toy(), 0)
    with pytest.raises(
        ValueError, match="--iters 2 is too few for the phases cls, pseudo, propagated"
    ):
        scale_iterations(toy(), 2)
    cfg = toy()
    scale_iterations(cfg, 5)  # the number that the sentence names
    assert len(set(cfg.custom_hooks[0].phases.values())) == 3
    cfg = toy()
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=3)
    with pytest.raises(ValueError, match=r"--iters needs a config with train_cfg\.max_iters"):
        scale_iterations(cfg, 50)
    cfg = toy()
    del cfg.param_scheduler[0]["by_epoch"]
    with pytest.raises(ValueError, match="LinearLR counts epochs: set by_epoch=False"):
        scale_iterations(cfg, 50)
    cfg = toy()
    cfg.param_scheduler[1]["type"] = "ExponentialLR"
    with pytest.raises(ValueError, match="--iters cannot scale the param_scheduler ExponentialLR"):
        scale_iterations(cfg, 50)

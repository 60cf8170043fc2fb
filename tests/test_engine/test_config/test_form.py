import pytest

from afa.engine.config.form import check_form


def _problems(cfg, options, stages=("train", "val")):
    cfg.merge_from_dict(options)
    return check_form(cfg, stages)


def test_a_right_config_passes(toy_cfg):
    assert check_form(toy_cfg, ("train", "val")) == []
    assert check_form(toy_cfg.to_dict(), ("test",)) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": 3}, "model must be a dict, got int 3."),
        ({"train_dataloader": [1]}, "train_dataloader must be a dict, got list [1]."),
        ({"custom_hooks": 3}, "custom_hooks must be a list of dicts, got int 3."),
        ({"val_evaluator": "IoU"}, "val_evaluator must be a dict, or a list of dicts, got str "),
        ({"work_dir": 3}, "work_dir must be a text, got int 3."),
        ({"default_hooks.mine": {"interval": 1}}, "default_hooks.mine has no type: a dict("),
        ({"default_hooks.logger": 5}, "default_hooks.logger must be a dict(type='...', ...) (None"),
        ({"custom_hooks": [{"interval": 1}]}, "custom_hooks[0] has no type"),
        ({"param_scheduler": {"type": None}}, "param_scheduler has no type"),
        ({"val_evaluator": [{"prefix": "a"}]}, "val_evaluator[0] has no type"),
        ({"model.toy_head": {"type": None}}, "model.toy_head has no type"),
        ({"train_dataloader.dataset.type": None}, "train_dataloader.dataset has no type"),
        ({"train_dataloader.dataset.pipeline": "A"}, "dataset.pipeline must be a list of dicts"),
        ({"train_dataloader.dataset.pipeline": [{}]}, "dataset.pipeline[0] has no type"),
        ({"train_dataloader.dataset": None}, "train_dataloader has no dataset"),
        ({"visualizer.vis_backends": [{"a": 1}]}, "visualizer.vis_backends[0] has no type"),
        ({"optim_wrapper.optimizer": 3}, "optim_wrapper.optimizer must be a dict(type="),
        ({"optim_wrapper.optimizer.lr": "fast"}, "lr must be a number, 0 or more, got str 'fast'."),
        ({"optim_wrapper.optimizer.lr": -1}, "lr must be a number, 0 or more, got int -1."),
        ({"train_cfg.max_iters": 0}, "train_cfg.max_iters must be 1 or more, got 0."),
        ({"train_cfg.max_iters": 2.5}, "train_cfg.max_iters must be a whole number, 1 or more"),
        ({"train_cfg.val_interval": float("nan")}, "train_cfg.val_interval must be a whole number"),
        (
            {"train_dataloader.batch_size": 0},
            "train_dataloader.batch_size must be 1 or more, got 0",
        ),
        (
            {"val_dataloader.num_workers": -1},
            "val_dataloader.num_workers must be 0 or more, got -1",
        ),
        (
            {"train_dataloader.persistent_workers": True},
            "persistent_workers needs workers: set tra",
        ),
        ({"default_hooks.checkpoint.interval": 0}, "must be 1 or more (or -1: save nothing in"),
        ({"randomness.seed": "dice"}, "randomness.seed must be a whole number, 0 or more, got str"),
        ({"log_level": "LOUD"}, "log_level must be DEBUG, INFO, WARNING or ERROR, got 'LOUD'."),
        ({"env_cfg": {"mp_cfg": {"mp_start_method": "x"}}}, "mp_start_method must be one of fork"),
        ({"model.data_preprocessor": {"type": "SegDataPreProcessor"}}, "training, got neither: si"),
    ],
)
def test_each_fault_is_one_sentence(toy_cfg, options, sentence):
    if options.get("param_scheduler"):
        toy_cfg.param_scheduler = [dict(type=None)]
        options, sentence = {}, sentence.replace(" has", "[0] has")
    (problem,) = _problems(toy_cfg, options)
    assert sentence in problem


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("model", "The config has no model: give the config of a whole run"),
        ("train_cfg", "The config has no train_cfg: train_dataloader, train_cfg, optim_wrapper go"),
        ("val_evaluator", "The config has no val_evaluator: val_dataloader, val_cfg, val_evaluat"),
        ("test_cfg", "give all of them, or set all of them to None."),
    ],
)
def test_what_is_missing_is_named(toy_cfg, key, sentence):
    toy_cfg.pop(key)
    (problem,) = check_form(toy_cfg, ("train", "val"))
    assert sentence in problem
    assert key == "model" or check_form(toy_cfg) == []  # a prediction needs the model alone


def test_what_is_switched_off_or_built_already_is_right(toy_cfg):
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        toy_cfg[key] = None
    toy_cfg.default_hooks.logger = None
    toy_cfg.default_hooks.checkpoint.interval = -1
    toy_cfg.param_scheduler = None
    assert check_form(toy_cfg, ("train", "val")) == []
    toy_cfg.pop("optim_wrapper")
    toy_cfg.optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1), constructor="Mine")
    assert check_form(toy_cfg, ("train",)) == []

import configparser

import pytest
from mmengine.config import Config

from afa.engine.config import check, load_config
from afa.engine.config.check import ConfigError, check_config, check_form


def _problems(cfg):
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    return str(error.value).splitlines()


def test_a_right_config_passes(toy_cfg):
    check_config(toy_cfg)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trian_cfg": {}}, "Unknown key 'trian_cfg'; did you mean 'train_cfg'?"),
        ({"model.toy_head.num_class": 3}, "model.toy_head: ToyHead has no argument 'num_class'"),
        (
            {"model.toy_head.type": "ToyHaed"},
            "no model is named 'ToyHaed'; did you mean 'ToyHead'?",
        ),
        ({"train_cfg.max_iter": 3}, "IterBasedTrainLoop has no argument 'max_iter'"),
        ({"train_dataloader.batchsize": 3}, "did you mean 'batch_size'?"),
        ({"train_dataloader.dataset.lenght": 3}, "ToyDataset has no argument 'lenght'"),
        ({"train_dataloader.dataset.pipeline.0.nois": 3}, "did you mean 'noise'?"),
        ({"train_dataloader.sampler.shufle": True}, "did you mean 'shuffle'?"),
        ({"optim_wrapper.clip_gard": {}}, "OptimWrapper has no argument 'clip_gard'"),
        ({"optim_wrapper.optimizer.weight_decy": 0}, "SGD has no argument 'weight_decy'"),
        ({"optim_wrapper.paramwise_cfg": {"custom_key": {}}}, "did you mean 'custom_keys'?"),
        (
            {"optim_wrapper.paramwise_cfg": {"custom_keys": {"head": {"lr_mul": 1}}}},
            "custom_keys['head']: no option 'lr_mul'; did you mean 'lr_mult'?",
        ),
        ({"default_hooks.logger.intervall": 5}, "LoggerHook has no argument 'intervall'"),
        ({"default_hooks.checkpoint.max_keep_ckpt": 5}, "did you mean 'max_keep_ckpts'?"),
        ({"param_scheduler": [{"type": "PolyLR", "powr": 1}]}, "PolyLR has no argument 'powr'"),
        ({"val_evaluator.prefx": "a"}, "did you mean 'prefix'?"),
        ({"visualizer.vis_backends.0.type": "LocalBackend"}, "no vis_backend is named"),
        ({"log_processor.windowsize": 1}, "did you mean 'window_size'?"),
        ({"randomness.sed": 1}, "randomness: no entry 'sed'; did you mean 'seed'?"),
        ({"env_cfg": {"cudnn_bench": True}}, "did you mean 'cudnn_benchmark'?"),
        ({"model_wrapper_cfg": {"find_unused": True}}, "did you mean 'find_unused_parameters'?"),
    ],
)
def test_what_is_misspelt_is_named_with_the_nearest_right_name(toy_cfg, options, text):
    toy_cfg.merge_from_dict(options)
    problems = _problems(toy_cfg)
    assert len(problems) == 1
    assert text in problems[0]


def test_all_problems_are_told_at_once(toy_cfg):
    toy_cfg.merge_from_dict({"wrok_dir": "x", "model.droput": 1})
    assert len(_problems(toy_cfg)) == 2


def test_arguments_of_parents_and_of_builders_are_known(toy_cfg):
    toy_cfg.merge_from_dict(
        {
            "model.init_cfg": {"type": "Normal", "layer": "Linear", "std": 0.1},
            "train_dataloader.dataset.lazy_init": False,
            "optim_wrapper.constructor": "DefaultOptimWrapperConstructor",
            "custom_hooks": [{"type": "EMAHook", "momentum": 0.1, "priority": 49}],
            "param_scheduler": [{"type": "LinearLR", "start_factor": 0.1, "by_epoch": False}],
            "_own": 3,
        }
    )
    check_config(toy_cfg)


@pytest.mark.parametrize(
    ("backend", "package", "name"),
    [
        ("WandbVisBackend", "wandb", "'afa[wandb]'"),
        ("MLflowVisBackend", "mlflow", "'afa[mlflow]'"),
        ("ClearMLVisBackend", "clearml", "'afa[clearml]'"),
        ("AimVisBackend", "aim", "aim"),
    ],
)
def test_a_backend_whose_package_is_not_installed(toy_cfg, monkeypatch, backend, package, name):
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    toy_cfg.visualizer.vis_backends.append(dict(type=backend))
    assert _problems(toy_cfg) == [
        f"visualizer.vis_backends[1]: {backend} needs the package {package}, which is not "
        f"installed: pip install {name}, or take it out of vis_backends (--tracker)."
    ]
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: name == package)
    check_config(toy_cfg)


def test_the_extras_that_are_named_are_there(repo):
    extras = configparser.ConfigParser()
    extras.read(repo / "setup.cfg")
    assert set(check._EXTRAS) <= set(extras["options.extras_require"])


def test_either_package_will_do_for_tensorboard(toy_cfg, monkeypatch):
    toy_cfg.visualizer.vis_backends.append(dict(type="TensorboardVisBackend"))
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: name == "tensorboardX")
    check_config(toy_cfg)
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    assert "needs the package tensorboard, which is not installed" in _problems(toy_cfg)[0]


def test_an_open_signature_is_not_judged_but_what_is_nested_is(toy_cfg):
    from mmseg.registry import MODELS

    @MODELS.register_module(force=True)
    class OpenToy:
        def __init__(self, radius=1, **kwargs):
            pass

    toy_cfg.model = dict(type="OpenToy", anything=1, head=dict(type="ToyHead", num_clases=3))
    problems = _problems(toy_cfg)
    assert len(problems) == 1 and "model.head: ToyHead has no argument" in problems[0]
    toy_cfg.model = dict(type="OpenToy", raduis=2)
    assert "did you mean 'radius'?" in _problems(toy_cfg)[0]


def test_wrong_number_of_classes(toy_cfg):
    toy_cfg.model.toy_head.num_classes = 5
    problems = _problems(toy_cfg)
    assert problems[0] == (
        "model.toy_head: num_classes is 5, but train_dataloader.dataset has 3 classes "
        "(the background counts)."
    )
    for name in ("train", "val", "test"):
        toy_cfg[f"{name}_dataloader"].dataset.metainfo = dict(classes=list("abcde"))
    check_config(toy_cfg)


def test_pipeline_that_does_not_reach_its_loader(toy_cfg):
    toy_cfg.train_pipeline = [dict(type="ToyTransform", noise=9.0)]
    problems = _problems(toy_cfg)
    assert "'train_pipeline' is not the pipeline that train_dataloader uses" in problems[0]
    toy_cfg.train_dataloader.dataset.pipeline = toy_cfg.train_pipeline
    check_config(toy_cfg)


def test_pipeline_inside_a_wrapper_counts_and_a_misspelt_one_is_named(toy_cfg):
    inner = toy_cfg.train_dataloader.dataset
    toy_cfg.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=inner)
    toy_cfg.train_pipeline = inner.pipeline
    check_config(toy_cfg)
    toy_cfg.trian_pipeline = [dict(type="ToyTransform", noise=1.0)]
    problem = "Nothing uses 'trian_pipeline'; did you mean 'train_pipeline'?"
    assert _problems(toy_cfg) == [problem]


def test_data_root_that_does_not_reach_its_loaders(toy_cfg, tmp_path):
    toy_cfg.data_root = "elsewhere"
    for name in ("train", "val", "test"):
        toy_cfg[f"{name}_dataloader"].dataset.data_root = str(tmp_path)
    assert "data_root is 'elsewhere', but the loaders use" in _problems(toy_cfg)[0]
    toy_cfg.data_root = str(tmp_path)
    check_config(toy_cfg)


def test_child_that_sets_a_name_its_base_has_used_up(tmp_path):
    (tmp_path / "base.py").write_text("max_iters = 5\ntrain_cfg = dict(max_iters=max_iters)\n")
    child = tmp_path / "child.py"
    child.write_text("_base_ = './base.py'\nmax_iters = 9\n")
    assert "child.py sets 'max_iters' without using it" in _problems(load_config(str(child)))[0]
    child.write_text("_base_ = './base.py'\nmax_iters = 9\ntrain_cfg = dict(max_iters=max_iters)\n")
    check_config(load_config(str(child)))


def test_model_must_be_a_dict():
    assert "model must be a dict, got str 'AFA'." in _problems(Config(dict(model="AFA")))


def _form_problems(cfg, options, stages=("train", "val")):
    cfg.merge_from_dict(options)
    return check_form(cfg, stages)


def test_the_form_of_a_right_config_passes(toy_cfg):
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
    (problem,) = _form_problems(toy_cfg, options)
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

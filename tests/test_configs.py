"""Every config of the package passes the check of a run and builds its model."""

import itertools
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import afa.datasets
import afa.engine
import afa.evaluation
import afa.models  # noqa: F401  registers what the configs name
from afa.engine.config import load_config
from afa.engine.config_check import check_config

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "afa"
CONFIGS = sorted(FOLDER.glob("*.py"), key=lambda path: path.name)


def test_there_are_configs():
    names = " ".join(path.name for path in CONFIGS)
    for dataset in ("shapes", "voc12aug", "coco14", "own"):
        assert dataset in names


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_passes_the_check_and_its_model_is_built(path, tmp_path):
    options = {}
    if "_own-" in path.name:  # its classes are counted in the data
        (tmp_path / "labels.csv").write_text("photo,cat,dog\na.jpg,1,0\n")
        options["data_root"] = str(tmp_path)
    cfg = load_config(str(path), options=options)
    check_config(cfg, stages=())  # no stage runs: data sets and weights need not be there
    cfg.model.backbone.init_cfg = None
    if cfg.get("crop_size"):
        assert tuple(cfg.model.data_preprocessor.size) == tuple(cfg.crop_size)
    init_default_scope("mmseg")
    with torch.device("meta"):  # shapes without memory
        model = MODELS.build(cfg.model)
    assert tuple(model.decode_head.in_channels) == model.backbone.embed_dims
    if cfg.model.type != "AFA":  # a fully supervised run, to compare with
        return
    if options:
        assert model.num_classes == 3
    heads = model.decode_head.num_classes, model.cls_head.classifier.out_channels + 1
    assert heads == (model.num_classes, model.num_classes)
    assert model.cls_head.classifier.in_channels == model.backbone.embed_dims[-1]
    if model.affinity_head is not None:
        assert model.affinity_head.proj.in_channels == model.backbone.num_attn


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_phases_warm_up_and_length_fit_together(path):
    cfg = load_config(str(path))
    phases = [hook for hook in cfg.custom_hooks if hook.type == "PhaseHook"]
    assert len(phases) == (cfg.model.type == "AFA")
    for hook in phases:
        assert hook.cls_iters < hook.pseudo_iters < cfg.train_cfg.max_iters
        # Only the config that starts from a trained classifier has no phase for it.
        assert (hook.cls_iters == 0) == path.stem.startswith("afa-labels")
    for one, other in itertools.pairwise(cfg.param_scheduler):
        assert one.end == other.begin
    assert cfg.param_scheduler[0].begin == 0
    assert cfg.param_scheduler[-1].end > cfg.train_cfg.max_iters


@pytest.mark.parametrize(
    ("part", "published"),
    [
        ("voc12aug", dict(max_iters=20000, cls_iters=2000, pseudo_iters=6000, num_iters=10)),
        ("coco14", dict(max_iters=80000, cls_iters=5000, pseudo_iters=15000, num_iters=15)),
    ],
)
def test_numbers_of_the_paper(part, published):
    found = [path for path in CONFIGS if part in path.name]
    assert found
    for path in found:
        cfg = load_config(str(path))
        (phases,) = (hook for hook in cfg.custom_hooks if hook.type == "PhaseHook")
        assert (
            dict(
                max_iters=cfg.train_cfg.max_iters,
                cls_iters=phases.cls_iters,
                pseudo_iters=phases.pseudo_iters,
                num_iters=cfg.model.refiner.num_iters,
            )
            == published
        )
        assert cfg.optim_wrapper.optimizer.lr == 6e-5
        assert cfg.optim_wrapper.paramwise_cfg.custom_keys["norm"] == dict(lr_mult=0)
        wanted = "propagated" if part == "coco14" else "pseudo"
        assert cfg.model.train_cfg.aff_label == wanted

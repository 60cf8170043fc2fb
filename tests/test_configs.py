"""Every config of the package passes the check of a run and builds its model."""

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import MODELS

import afa.datasets
import afa.engine
import afa.evaluation
import afa.models  # noqa: F401  registers what the configs name
from afa.engine.config import load_config
from afa.engine.config.check import check_config
from afa.engine.config.load import import_components
from afa.engine.runner import build_runner
from afa.files.label_png import write_label_png

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "afa"
# Pipelines name configs; they and the stages of the other methods are in test_stage_configs.py.
CONFIGS = sorted(set(FOLDER.glob("*.py")) - set(FOLDER.glob("pipeline_*.py")))


def test_there_are_configs():
    names = " ".join(path.name for path in CONFIGS)
    for dataset in ("shapes", "voc12aug", "coco14", "own"):
        assert dataset in names
    for backbone in ("mit-b1", "deit-s", "vit-b", "dinov2-s", "dinov2-b"):
        assert f"afa_{backbone}_2xb2-20k_voc12aug" in names
        assert f"afa_{backbone}_2xb4-80k_coco14" in names


@pytest.mark.parametrize(("name", "mean"), [("deit-s", 123.675), ("vit-b", 127.5)])
def test_colours_are_those_of_the_weights(name, mean):
    (path,) = FOLDER.glob(f"afa_{name}_*_voc12aug-*.py")
    cfg = load_config(str(path))
    import_components(cfg)
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean[0] == pytest.approx(mean)
    assert preprocessor.std[2] == pytest.approx(mean if mean == 127.5 else 57.375)


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
    with torch.device("meta"):  # shapes without memory
        model = MODELS.build(cfg.model)
    levels = model.backbone.out_channels
    assert list(model.decode_head.in_channels) == list(levels)
    if hasattr(model.backbone, "check_crop"):
        for scale in cfg.model.train_cfg.cam_scales:
            model.backbone.check_crop([int(scale * side) for side in cfg.crop_size])
    if cfg.model.type != "AFA":  # a fully supervised run, to compare with
        return
    if options:
        assert model.num_classes == 3
    heads = model.decode_head.num_classes, model.cls_head.classifier.out_channels + 1
    assert heads == (model.num_classes, model.num_classes)
    assert model.cls_head.classifier.in_channels == levels[-1]
    if model.affinity_head is not None:
        assert model.affinity_head.proj.in_channels == model.backbone.num_attn


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_phases_warm_up_and_length_fit_together(path):
    cfg = load_config(str(path))
    phases = [hook for hook in cfg.custom_hooks if hook.type == "PhaseHook"]
    assert len(phases) == (cfg.model.type == "AFA")
    for hook in phases:
        begins = [*hook.phases.values(), cfg.train_cfg.max_iters]
        assert begins == sorted(set(begins))
        # Only the config that starts from a trained classifier has no phase for it.
        assert ("cls" not in hook.phases) == path.stem.startswith("afa-labels")
    for one, other in itertools.pairwise(cfg.param_scheduler):
        assert one.end - other.begin in (0, 1)  # 1: the second begins where the first has ended
    assert cfg.param_scheduler[0].begin == 0
    assert cfg.param_scheduler[-1].end > cfg.train_cfg.max_iters


@pytest.mark.parametrize(
    ("name", "warmup"),
    [
        ("afa_mit-b1_2xb2-20k_voc12aug-512x512", 1500),
        ("afa_mit-b1_2xb4-80k_coco14-512x512", 1500),
        ("afa_mit-b0_1xb4-4k_own-512x512", 300),
    ],
)
def test_the_rate_is_that_of_the_authors_program(name, warmup):
    """Factor 1e-6 to 1 over the warm-up, then 1 - step / max of the whole run."""
    (path,) = (path for path in CONFIGS if path.stem == name)
    cfg = load_config(str(path))
    last = cfg.train_cfg.max_iters
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
        for scheduler in cfg.param_scheduler
    ]
    for step in range(last):
        rising, falling = 1 - (1 - step / warmup) * (1 - 1e-6), 1 - step / last
        expected = rising if step < warmup else falling
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-4), step
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize(
    ("part", "published"),
    [
        ("voc12aug", dict(max_iters=20000, pseudo=2000, propagated=6000, num_iters=10)),
        ("coco14", dict(max_iters=80000, pseudo=5000, propagated=15000, num_iters=15)),
    ],
)
def test_numbers_of_the_paper(part, published):
    found = [path for path in CONFIGS if part in path.name and path.name.startswith("afa_")]
    assert found
    for path in found:
        cfg = load_config(str(path))
        (phases,) = (hook for hook in cfg.custom_hooks if hook.type == "PhaseHook")
        assert (
            dict(
                max_iters=cfg.train_cfg.max_iters,
                pseudo=phases.phases.pseudo,
                propagated=phases.phases.propagated,
                num_iters=cfg.model.refiner.num_iters,
            )
            == published
        )
        assert cfg.optim_wrapper.optimizer.lr == 6e-5
        assert cfg.optim_wrapper.paramwise_cfg.custom_keys["norm"] == dict(lr_mult=0)
        wanted = "propagated" if part == "coco14" else "pseudo"
        assert cfg.model.train_cfg.aff_label == wanted


@pytest.mark.parametrize("with_masks", [False, True])
def test_own_photos_train_and_validate_with_and_without_masks(with_masks, tmp_path):
    lines = ["photo,labels,split"]
    for number, label in enumerate(["cat", "", "cat;dog", "dog", "cat"]):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), np.full((40, 30, 3), 50 * number, np.uint8))
        lines.append(f"{number}.jpg,{label},{'train' if number < 3 else 'val'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    if with_masks:  # one of the two photos for validation has one
        (tmp_path / "masks").mkdir()
        write_label_png(tmp_path / "masks" / "3.png", np.full((40, 30), 2, np.uint8))
    loaders = {"num_workers": 0, "persistent_workers": False}
    (path,) = (path for path in CONFIGS if "580it_own" in path.name)
    cfg = load_config(
        str(path),
        work_dir=str(tmp_path / "work"),
        options={
            "data_root": str(tmp_path),
            "model.backbone.init_cfg": None,
            "model.data_preprocessor.size": (32, 32),
            "model.test_cfg.pseudo_labels": with_masks,
            "default_hooks.checkpoint.save_best": "seg/mIoU" if with_masks else None,
            "train_cfg.max_iters": 3,
            "train_cfg.val_interval": 3,
            "custom_hooks.0.phases.pseudo": 1,
            "custom_hooks.0.phases.propagated": 2,
            "train_dataloader.dataset.pipeline.4.crop_size": (32, 32),
            **{
                f"{stage}_dataloader.{k}": v
                for stage in ("train", "val")
                for k, v in loaders.items()
            },
        },
    )
    cfg.pop("train_pipeline")
    cfg.vis_backends = cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    runner = build_runner(cfg)
    runner.train()
    figures = {key for key in runner.message_hub.log_scalars if key.startswith("val/")}
    measured = {key.split("/")[1] for key in figures} - {"data_time", "time"}
    assert "val/cls/F1" in figures
    assert measured == ({"cls", "cam", "par", "propagated", "seg"} if with_masks else {"cls"})
    best = list((tmp_path / "work").glob("best_seg_mIoU_*.pth"))
    assert len(best) == with_masks and (tmp_path / "work" / "iter_3.pth").is_file()


def test_config_of_ones_own_in_the_guide(repo, tmp_path, monkeypatch):
    guide = (repo / "docs" / "own_data.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    (tmp_path / "data" / "pets").mkdir(parents=True)
    (tmp_path / "data" / "pets" / "labels.csv").write_text("photo,labels\na.jpg,cat;dog;cow\n")
    (tmp_path / "mine.py").write_text(snippet.replace('"./', f'"{FOLDER}/'))
    monkeypatch.chdir(tmp_path)
    cfg = load_config("mine.py")
    check_config(cfg, stages=())
    assert cfg.model.decode_head.num_classes == cfg.model.cls_head.num_classes == 4
    assert cfg.test_dataloader.dataset.data_root == "data/pets"

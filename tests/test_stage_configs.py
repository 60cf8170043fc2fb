"""Configs of the stages of AffinityNet and SC-CAM build, and their pipelines fit together."""

import itertools
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS, TRANSFORMS

import afa.datasets
import afa.engine
import afa.evaluation
import afa.models  # noqa: F401  registers what the configs name
from afa.engine.config import load_config
from afa.engine.config.check import check_config
from afa.models.functional import pair_offsets
from afa.pipelines import load_pipeline

FOLDER = Path(__file__).resolve().parent.parent / "configs"
PIPELINES = sorted(FOLDER.glob("*/pipeline_*.py"))
CONFIGS = sorted({*FOLDER.glob("affinitynet/*.py"), *FOLDER.glob("sccam/*.py")} - {*PIPELINES})
MASKS = "train_dataloader.dataset.data_prefix.seg_map_path"


def _config(part):
    (path,) = (path for path in CONFIGS if path.name.startswith(part))
    return load_config(str(path))


def test_there_are_configs():
    names = [path.name for path in PIPELINES]
    for data in ("voc12aug", "voc12mini", "shapes"):
        for method in ("affinitynet", "sccam"):
            assert any(method in name and data in name for name in names)
    assert "pipeline_afa_mit-b0_shapes.py" in names and len(CONFIGS) >= 15


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_passes_the_check_and_its_model_is_built(path):
    cfg = load_config(str(path))
    check_config(cfg, stages=())  # no stage runs: data sets and weights need not be there
    cfg.model.backbone.init_cfg = None
    assert tuple(cfg.model.data_preprocessor.size) == tuple(cfg.crop_size)
    for loader in ("train", "test"):
        for step in cfg[f"{loader}_dataloader"].dataset.pipeline:
            TRANSFORMS.build(step)
    with torch.device("meta"):  # shapes without memory
        model = MODELS.build(cfg.model)
        levels = model.backbone(torch.zeros(1, 3, 64, 64))
    head = model.affinity_head if cfg.model.type == "AffinityNet" else None
    if head is not None:
        wide = [levels[i].shape[1] for i in head.in_index]
        assert [proj.in_channels for proj in head.projs] == wide
        assert levels[head.in_index[0]].shape[2:] == (8, 8)
    elif cfg.model.type == "EncoderDecoder":
        found, index = [level.shape[1] for level in levels], model.decode_head.in_index
        found = [found[i] for i in index] if isinstance(index, list) else found[index]
        assert model.decode_head.in_channels == found
    else:
        assert model.cls_head.classifier.in_channels == levels[-1].shape[1]
        side = 4 if cfg.model.backbone.type == "TimmCNN" else 8  # stride 16
        assert levels[-1].shape[2:] == (side, side)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_warm_up_and_length_fit_together(path):
    cfg = load_config(str(path))
    for one, other in itertools.pairwise(cfg.param_scheduler):
        assert one.end == other.begin
    assert cfg.param_scheduler[0].begin == 0
    assert cfg.param_scheduler[-1].end > cfg.train_cfg.max_iters
    assert cfg.default_hooks.checkpoint.get("save_best") is None  # the last one goes on


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_learns_from_label_maps_never_takes_masks_by_oversight(path):
    dataset = load_config(str(path)).train_dataloader.dataset
    loads = any(step["type"] == "LoadAnnotations" for step in dataset.pipeline)
    assert loads == (dataset.data_prefix.seg_map_path in ("affinity_labels", "pseudo_labels"))


def test_numbers_of_the_papers():
    cfg = _config("classifier_resnet38_4xb4-10k")
    assert cfg.optim_wrapper.optimizer == dict(
        type="SGD", lr=0.01, momentum=5e-4, weight_decay=5e-4
    )
    assert cfg.train_cfg.max_iters == 10582 * 15 // 16 // 10 * 10
    assert tuple(cfg.model.cam_scales) == (1, 0.5, 1.5, 2) and cfg.model.cam_mirror == "sum"
    sides = [scale[0] for scale in cfg.train_pipeline[1]["scales"]]
    assert (min(sides), max(sides), cfg.crop_size) == (256, 512, (448, 448))
    cfg = _config("affinitynet_resnet38_4xb2-10k")
    assert cfg.train_cfg.max_iters == 10582 * 8 // 8
    assert (cfg.model.beta, cfg.model.num_steps) == (8, 256)
    assert len(pair_offsets(cfg.model.affinity_head.radius)) == 34
    assert sum(cfg.model.affinity_head.channels) == 448
    cfg = _config("subcategories_resnet38_4xb4-40k")
    assert (cfg.model.sub_head.num_sub, cfg.model.sub_head.loss_weight) == (10, 5)
    assert (cfg.train_dataloader.dataset.num_sub, cfg.crop_size) == (10, (224, 224))
    assert tuple(_config("deeplabv2_r101_1xb10").model.decode_head.dilations) == (6, 12, 18, 24)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_pipeline_loads_and_its_stages_fit_together(path, tmp_path):
    pipeline = load_pipeline(path, tmp_path)  # tools and configs of all stages are there
    stages = {stage.name: stage for stage in pipeline.stages}
    assert list(stages)[-2:] == ["test", "test_tta_crf"]
    assert stages["test_tta_crf"].args == ["--tta", "--crf"]
    assert pipeline.method in ("AFA", "AffinityNet", "SC-CAM")
    if pipeline.method == "AFA":
        assert list(stages)[:2] == ["train", "pseudo_labels"]
        return
    order = ["cams", "affinity_labels", "affinitynet", "random_walk", "pseudo_labels"]
    assert list(stages)[-8:-3] == order and "--save-maps" in stages["cams"].args
    walk, labels = stages["random_walk"].args, stages["pseudo_labels"].args
    assert "--save-maps" in walk and labels[5:7] == ["--walked", "{random_walk}"]
    assert stages["affinitynet"].options[MASKS] == "{affinity_labels}/labels"
    assert stages["segmentation"].options[MASKS] == "{pseudo_labels}/labels"
    for name in ("random_walk", "pseudo_labels"):  # measured on masks, not on their own labels
        assert stages[name].options[MASKS] == "SegmentationClassAug"
    alphas = stages["affinity_labels"].args
    low, high = alphas[alphas.index("--alphas") + 1 :][:2]
    assert float(low) < float(high)
    rounds = [name for name in stages if name.startswith("round_")]
    assert bool(rounds) == (pipeline.method == "SC-CAM")
    for number, name in enumerate(rounds, 1):
        options = stages[name].options
        assert options["train_dataloader.dataset.sub_labels"] == (
            f"{{clusters_{number}}}/sub_labels.json"
        )
        options = {key: value for key, value in options.items() if key.endswith("num_sub")}
        cfg = load_config(str(FOLDER.parent / stages[name].config), options=options)
        num_sub = cfg.model.sub_head.num_sub
        assert cfg.train_dataloader.dataset.num_sub == num_sub
        assert stages[f"clusters_{number}"].args[2:4] == ["--num-sub", str(num_sub)]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_published_exponents_of_the_background(path, tmp_path):
    stages = {stage.name: stage.args for stage in load_pipeline(path, tmp_path).stages}
    if "affinity_labels" not in stages:
        return
    if "lite0" in path.name:  # other CAMs, other exponents: configs/_base_/pipelines/low_cams.py
        return
    high = "24" if "_paper_" in path.name else "32"
    assert stages["affinity_labels"][3:6] == ["--alphas", "4", high]
    assert stages["random_walk"][3:5] == stages["pseudo_labels"][3:5] == ["--alpha", "16"]
    assert "4, 16, 24 in the paper" in (FOLDER / "_base_/pipelines/affinitynet.py").read_text()

"""A small AFA with drawn weights, on a small Shapes set, as config and checkpoint on disk."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from toy_afa import afa_cfg, make_afa
from toy_processes import be_process

from afa.datasets.shapes import write_shapes
from afa.datasets.shapes_generator import CLASSES, PALETTE
from afa.engine.config import load_config
from afa.labels.options import PseudoLabelOptions
from afa.labels.stages import make_pseudo_labels

NUM_CLASSES = len(CLASSES)


def model_changes(**changes):
    """Fit the small AFA to Shapes."""
    heads = {f"{head}__num_classes": NUM_CLASSES for head in ("cls_head", "decode_head")}
    return {**heads, "test_cfg": dict(bkg_thr=0.4, cls_thr=0.5), **changes}


def _loader(root, split, pipeline):
    dataset = dict(
        type="ShapesDataset",
        data_root=str(root),
        ann_file=f"ImageSets/Segmentation/{split}.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="Annotations",
        pipeline=pipeline,
    )
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset)


def write_toy_data(root, num_train=3, num_val=4):
    """Write a Shapes set of small pictures."""
    write_shapes(root, num_train, num_val, size=48)
    return Path(root)


def label_cfg(folder, root, **changes):
    """Return the config; ``changes`` are of the model, dotted keys with '__' for the dot."""
    test_pipeline = [
        dict(type="LoadPhoto"),
        dict(type="Resize", scale=(56, 56), keep_ratio=True),
        dict(type="LoadAnnotations"),
        dict(type="PackWSSSInputs"),
    ]
    train_pipeline = [
        dict(type="LoadPhoto"),
        dict(type="RandomCropPad", crop_size=(32, 32)),
        dict(type="PackWSSSInputs"),
    ]
    val_loader = _loader(root, "val", test_pipeline)
    val_loader["dataset"]["test_mode"] = True
    imports = ["afa.models", "afa.datasets", "afa.engine", "afa.evaluation"]
    return Config(
        dict(
            default_scope="mmseg",
            custom_imports=dict(imports=imports, allow_failed_imports=False),
            work_dir=str(Path(folder) / "work"),
            model=afa_cfg(**model_changes(**changes)),
            train_dataloader=_loader(root, "train", train_pipeline),
            val_dataloader=val_loader,
            test_dataloader=val_loader,
        )
    )


def write_toy(folder, root, **changes):
    """Write config and checkpoint into a folder; give their paths."""
    folder = Path(folder)
    model = make_afa(**model_changes(**changes))
    torch.manual_seed(1)  # CAMs of a drawn classifier are nearly flat: larger weights
    model.cls_head.classifier.weight.data.normal_(std=0.1)
    model.decode_head.conv_seg.weight.data.normal_(std=0.5)
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "toy.pth")
    label_cfg(folder, root, **changes).dump(folder / "toy.py")
    return folder / "toy.py", folder / "toy.pth"


def make_toy_labels(toy, out, cfg_options=None, **options):
    """Make labels of a toy; ``options`` are those of PseudoLabelOptions."""
    cfg = load_config(str(toy[0]), options=dict(cfg_options or {}))
    wanted = PseudoLabelOptions(**{"split": "val", "kind": "cam", "out": str(out), **options})
    return make_pseudo_labels(cfg, toy[1], wanted)


def same_figures(one, other):
    """Compare figures, of which some are NaN."""
    return json.dumps(one) == json.dumps(other)


def label_process(rank, port, toy, out):
    """Be one of two processes that make labels, go on with them, and refuse other settings."""
    be_process(rank, port)
    wanted = dict(kind="par", save_maps=True, sweep=(0.3, 0.5, 0.1), launcher="pytorch")
    made = [make_toy_labels(toy, out, **wanted) for _ in range(2)]
    assert same_figures(made[0]["figures"], made[1]["figures"]) and made[1]["num_made"] == 0
    try:
        make_toy_labels(toy, out, **dict(wanted, bkg_thr=0.2))
    except ValueError as error:
        assert "--overwrite" in str(error)  # in both processes: neither waits for the other
    else:
        raise AssertionError("other settings must be refused")
    torch_dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit("toy_labels is imported by the tests.")

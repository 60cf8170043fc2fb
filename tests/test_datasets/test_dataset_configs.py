"""Every data set config is built on a made-up tree, and its pipelines run."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS

import afa.datasets
import afa.engine  # noqa: F401  registers data sets and samplers

FOLDER = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"
CONFIGS = sorted(path for path in FOLDER.glob("*.py") if path.name != "loaders.py")  # no data set
OWN = "OwnPhotosDataset"
LABELS = {"ShapesDataset": "ball", "VOC12Dataset": "cat", "COCO14Dataset": "toaster"}


def fill(root: Path, dataset: dict, count: int) -> None:
    """Write the images, masks, list and labels that a data set config asks for."""
    if dataset["type"] == OWN:
        fill_own(root)
        return
    name = LABELS[dataset["type"]]
    ids = [f"{Path(dataset['ann_file']).stem}_{number}" for number in range(count)]
    for folder in dataset["data_prefix"].values():
        (root / folder).mkdir(parents=True, exist_ok=True)
    for img_id in ids:
        image = root / dataset["data_prefix"]["img_path"] / f"{img_id}.jpg"
        cv2.imwrite(str(image), np.full((60, 80, 3), 100, np.uint8))
        mask = root / dataset["data_prefix"]["seg_map_path"] / f"{img_id}.png"
        cv2.imwrite(str(mask), np.ones((60, 80), np.uint8))
    split = root / dataset["ann_file"]
    split.parent.mkdir(parents=True, exist_ok=True)
    split.write_text("\n".join(ids))
    labels = root / dataset["image_labels"]
    if labels.suffix == ".json":
        table = json.loads(labels.read_text()) if labels.is_file() else {}
        labels.write_text(json.dumps({**table, **{img_id: [name] for img_id in ids}}))
    else:
        labels.mkdir(exist_ok=True)
        for img_id in ids:
            (labels / f"{img_id}.xml").write_text(
                f"<annotation><object><name>{name}</name></object></annotation>"
            )


def fill_own(root: Path) -> None:
    """Write seven photos and masks of two of them; the last two are for validation."""
    (root / "masks").mkdir(exist_ok=True)
    lines = ["photo,labels,split"]
    for number in range(7):
        cv2.imwrite(str(root / f"{number}.jpg"), np.full((60, 80, 3), 100, np.uint8))
        lines.append(f"{number}.jpg,cat,{'train' if number < 5 else 'val'}")
    cv2.imwrite(str(root / "masks" / "5.png"), np.ones((60, 80), np.uint8))
    (root / "labels.csv").write_text("\n".join(lines))


def test_there_are_configs():
    assert {"own_photos", "shapes", "voc12_aug", "voc12_mini", "coco14"} <= {
        path.stem for path in CONFIGS
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_built_and_its_pipelines_run(path, tmp_path):
    cfg = Config.fromfile(path)
    for split, count in (("train", 5), ("val", 2)):
        loader = cfg[f"{split}_dataloader"]
        fill(tmp_path, loader["dataset"], count)
        loader["dataset"]["data_root"] = str(tmp_path)
        loader.update(num_workers=0, persistent_workers=False)
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        sample = batch["data_samples"][0]
        dataset_type = loader["dataset"]["type"]
        num_classes = len(DATASETS.get(dataset_type).METAINFO.get("classes", ("background", "cat")))
        assert sample.gt_label.shape == (num_classes - 1,) and sample.gt_label.sum() == 1
        assert ("gt_sem_seg" in sample) == (split == "val")
        if split == "train":
            assert len(batch["inputs"]) == loader["batch_size"]
            assert all(tuple(image.shape[1:]) == cfg.crop_size for image in batch["inputs"])
        else:
            # The truth keeps the size of the photo, whatever the input is resized to.
            assert sample.gt_sem_seg.shape == (60, 80)
            assert sample.metainfo["ori_shape"] == (60, 80)


@pytest.mark.parametrize(
    ("name", "batch_size", "crop"),
    [
        ("shapes", 8, 96),
        ("voc12_aug", 2, 512),
        ("voc12_mini", 2, 512),
        ("coco14", 4, 512),
        ("own_photos", 4, 512),
    ],
)
def test_recipe(name, batch_size, crop):
    (path,) = (path for path in CONFIGS if path.stem == name)
    cfg = Config.fromfile(path)
    assert cfg.train_dataloader.batch_size == batch_size
    assert cfg.train_dataloader.sampler.type == "SeededInfiniteSampler"
    assert cfg.crop_size == (crop, crop)
    assert cfg.val_dataloader.batch_size == 1 and cfg.val_dataloader.dataset.test_mode
    assert "LoadAnnotations" not in [step["type"] for step in cfg.train_pipeline]
    if name != "shapes":
        (scale,) = (step for step in cfg.train_pipeline if step.type == "RandomScale")
        assert scale.ratio_range == (0.5, 2.0)
        assert cfg.test_pipeline[1].scale == (512, 512)

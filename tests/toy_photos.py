"""Some made-up photos in VOC's layout, with masks and image labels, and a small AFA for them."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from toy_afa import NUM_CLASSES, afa_cfg, make_afa

from afa.files.label_png import write_label_png

CLASSES = ("background", "a", "b", "c")
COLOURS = np.array([(120, 120, 120), (200, 40, 40), (40, 180, 60), (40, 60, 200)])
PALETTE = [[0, 0, 0], [10, 20, 30], [40, 50, 60], [70, 80, 90]]


def write_photos(root, count=5, splits=("val",), seed=0):
    """Write photos of various sizes, each with one rectangle of a class, and return their ids."""
    root, rng = Path(root), np.random.default_rng(seed)
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    ids, labels = [f"photo_{index:02d}" for index in range(count)], {}
    for index, img_id in enumerate(ids):
        height, width = rng.integers(33, 60, 2)
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[height // 4 : height // 2, width // 5 : width // 2] = 1 + index % (NUM_CLASSES - 1)
        image = COLOURS[mask] + rng.integers(-20, 21, (height, width, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / f"JPEGImages/{img_id}.jpg", quality=95)
        mask[0, 0] = 255
        write_label_png(root / f"SegmentationClassAug/{img_id}.png", mask)
        labels[img_id] = [CLASSES[1 + index % (NUM_CLASSES - 1)]]
    (root / "image_labels.json").write_text(json.dumps(labels))
    for split in splits:
        (root / f"ImageSets/{split}.txt").write_text("\n".join(ids) + "\n")
    return ids


def make_cfg(root, work_dir, **changes):
    """Return the config of a test; changes are dotted keys with '__' for the dot."""
    pipeline = [
        dict(type="LoadPhoto"),
        dict(type="Resize", scale=(48, 48), keep_ratio=True),
        dict(type="LoadAnnotations"),
        dict(type="PackWSSSInputs"),
    ]
    dataset = dict(
        type="WSSSDataset",
        data_root=str(root),
        ann_file="ImageSets/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="image_labels.json",
        metainfo=dict(classes=CLASSES, palette=PALETTE),
        pipeline=pipeline,
        test_mode=True,
    )
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dataset,
    )
    cfg = Config(
        dict(
            default_scope="mmseg",
            custom_imports=dict(
                imports=["afa.models", "afa.datasets", "afa.engine", "afa.evaluation"],
                allow_failed_imports=False,
            ),
            model=afa_cfg(test_cfg=dict(pseudo_labels=True)),
            work_dir=str(work_dir),
            val_dataloader=loader,
            test_dataloader=loader,
            val_cfg=dict(type="ValLoop"),
            test_cfg=dict(type="TestLoop"),
            val_evaluator=_metrics(),
            test_evaluator=_metrics(),
            visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        )
    )
    cfg.merge_from_dict({key.replace("__", "."): value for key, value in changes.items()})
    return cfg


def _metrics():
    return [
        dict(type="MultiLabelMetric", prefix="cls"),
        dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"),
        dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg"),
    ]


def write_checkpoint(path, num_classes=NUM_CLASSES):
    """Write drawn weights whose segmentation has several classes, and return the path."""
    model = make_afa(cls_head__num_classes=num_classes, decode_head__num_classes=num_classes)
    model.decode_head.conv_seg.weight.data.mul_(100)
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


if __name__ == "__main__":
    sys.exit("toy_photos is imported by the tests.")

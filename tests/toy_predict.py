"""A small AFA with config and checkpoint in files, and photos of every kind."""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from toy_afa import NUM_CLASSES, afa_cfg, make_afa

CLASSES = ("background", "cat", "dog", "big cat/lion")
PALETTE = [[0, 0, 0], [200, 0, 0], [0, 150, 0], [0, 0, 250]]


def write_config(folder, **changes):
    """Write a config whose data set is nowhere, and return its path."""
    pipeline = [
        dict(type="LoadPhoto"),
        dict(type="ResizeToFit", scale=(48, 48)),
        dict(type="LoadAnnotations"),
        dict(type="PackWSSSInputs"),
    ]
    dataset = dict(
        type="WSSSDataset",
        metainfo=dict(classes=CLASSES, palette=PALETTE),
        data_root="no/such/folder",
        ann_file="val.txt",
        data_prefix=dict(img_path="photos", seg_map_path="masks"),
        pipeline=pipeline,
        test_mode=True,
    )
    model = afa_cfg()
    model["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="no/such/weights.pth")
    model["test_cfg"] = dict(pseudo_labels=True)
    cfg = Config(
        dict(
            default_scope="mmseg",
            custom_imports=dict(
                imports=["afa.models", "afa.datasets", "afa.engine", "afa.evaluation"],
                allow_failed_imports=False,
            ),
            model=model,
            test_dataloader=dict(
                batch_size=1, sampler=dict(type="DefaultSampler", shuffle=False), dataset=dataset
            ),
            test_evaluator=dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg"),
            test_cfg=dict(type="TestLoop"),
        )
    )
    cfg.merge_from_dict(changes)
    path = Path(folder) / "toy.py"
    cfg.dump(path)
    return path


def write_checkpoint(folder, name="toy.pth", classes=CLASSES, seed=0):
    """Write a checkpoint as mmengine does; its classes differ in their scores and places."""
    model = make_afa()
    torch.manual_seed(seed)
    for head in (model.decode_head.conv_seg, model.cls_head.classifier):
        torch.nn.init.normal_(head.weight, std=1.0)
    path = Path(folder) / name
    meta = dict(dataset_meta=dict(classes=classes, palette=PALETTE)) if classes else {}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


def draw_photo(height=60, width=80, seed=0):
    """Draw a photo (H, W, 3) BGR: coloured rectangles on noise."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(90, 140, (height, width, 3)).astype(np.uint8)
    photo[height // 4 : height // 2, width // 4 : width // 2 + 1] = rng.integers(0, 255, 3)
    photo[height // 2 :, width // 2 :] = rng.integers(0, 255, 3)
    return photo


def write_photos(folder):
    """Write one photo of each kind that must be read, and return the names of the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    bgr = draw_photo()
    rgb = Image.fromarray(bgr[..., ::-1].copy())
    cv2.imwrite(str(folder / "plain.jpg"), bgr)
    cv2.imwrite(str(folder / "sixteen.png"), bgr.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "thin.png"), draw_photo(1, 300))
    cv2.imwrite(str(folder / "pixel.png"), draw_photo(1, 1))
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.convert("RGBA").save(folder / "alpha.webp")
    rgb.quantize(8).save(folder / "palette.gif")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to be upright
    rgb.save(folder / "turned.jpg", exif=exif)
    return sorted(path.name for path in folder.iterdir())


assert len(CLASSES) == NUM_CLASSES
if __name__ == "__main__":
    sys.exit("toy_predict is imported by the tests.")

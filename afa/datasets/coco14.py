"""MS COCO 2014."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from afa.datasets.wsss_dataset import WSSSDataset
from afa.files.label_png import distinct_palette
from afa.utils.home import run_text

# In the order of the category ids; the ids themselves (1..90) have gaps, the labels 1..80 have not.
CLASSES = (
    "background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck",
    "boat", "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip


@DATASETS.register_module()
class COCO14Dataset(WSSSDataset):
    """Read MS COCO 2014 with masks made of its instances: background and 80 classes."""

    prepare_hint = f"make the set with `{run_text('coco14')}` (docs/data.md), or set data_root"
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=distinct_palette(len(CLASSES)))

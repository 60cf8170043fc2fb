"""The built-in data set Shapes, made by ``tools/dataset_converters/shapes.py``."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from afa.datasets.shapes_generator import CLASSES, PALETTE
from afa.datasets.wsss_dataset import WSSSDataset


@DATASETS.register_module()
class ShapesDataset(WSSSDataset):
    """Read Shapes: background and six classes, in the layout of VOC."""

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE)
    prepare_hint = "make the set with `python tools/dataset_converters/shapes.py`, or set data_root"

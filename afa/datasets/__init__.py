"""Data sets and transforms, registered in mmseg's registries."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.datasets.coco14 import COCO14Dataset  # noqa: E402
from afa.datasets.own_photos import OwnPhotosDataset  # noqa: E402
from afa.datasets.shapes import ShapesDataset  # noqa: E402
from afa.datasets.transforms import (  # noqa: E402
    LoadOptionalMask,
    LoadPhoto,
    PackWSSSInputs,
    RandomCropPad,
    RandomScale,
    ResizeToFit,
    read_photo,
)
from afa.datasets.voc import VOC12Dataset  # noqa: E402
from afa.datasets.wsss_dataset import WSSSDataset  # noqa: E402

__all__ = [
    "COCO14Dataset",
    "LoadOptionalMask",
    "LoadPhoto",
    "OwnPhotosDataset",
    "PackWSSSInputs",
    "RandomCropPad",
    "RandomScale",
    "ResizeToFit",
    "ShapesDataset",
    "VOC12Dataset",
    "WSSSDataset",
    "read_photo",
]

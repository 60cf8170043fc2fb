"""Data sets and transforms, registered in mmseg's registries."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.datasets.coco14 import COCO14Dataset
from afa.datasets.own_photos import OwnPhotosDataset
from afa.datasets.shapes import ShapesDataset
from afa.datasets.transforms import (
    LoadOptionalMask,
    LoadPhoto,
    PackWSSSInputs,
    RandomCropPad,
    RandomScale,
    ResizeToFit,
)
from afa.datasets.voc import VOC12Dataset
from afa.datasets.wsss_dataset import WSSSDataset

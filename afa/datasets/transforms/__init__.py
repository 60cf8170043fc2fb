"""Transforms, registered in mmseg's registry."""

from afa.datasets.transforms.formatting import PackWSSSInputs
from afa.datasets.transforms.load_optional_mask import LoadOptionalMask
from afa.datasets.transforms.load_photo import LoadPhoto
from afa.datasets.transforms.random_crop_pad import RandomCropPad
from afa.datasets.transforms.random_scale import RandomScale
from afa.datasets.transforms.resize_to_fit import ResizeToFit
from afa.files.photo import read_photo

__all__ = [
    "LoadOptionalMask",
    "LoadPhoto",
    "PackWSSSInputs",
    "RandomCropPad",
    "RandomScale",
    "ResizeToFit",
    "read_photo",
]

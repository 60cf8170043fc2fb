"""Transforms, registered in mmseg's registry."""

from afa.datasets.transforms.formatting import PackWSSSInputs
from afa.datasets.transforms.random_crop_pad import RandomCropPad
from afa.datasets.transforms.random_scale import RandomScale

__all__ = ["PackWSSSInputs", "RandomCropPad", "RandomScale"]

"""Transforms, registered in mmseg's registry."""

from afa.datasets.transforms.formatting import PackWSSSInputs
from afa.datasets.transforms.geometry import RandomCropPad, RandomScale, ResizeToFit
from afa.datasets.transforms.loading import LoadOptionalMask, LoadPhoto

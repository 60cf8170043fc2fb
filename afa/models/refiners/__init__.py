"""Refiners: modules that sharpen maps along an image."""

from afa.models.refiners.base import Refiner, build_refiner
from afa.models.refiners.dense_crf import DenseCRF
from afa.models.refiners.par import PAR

"""PASCAL VOC 2012."""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from afa.datasets.wsss_dataset import WSSSDataset
from afa.utils.home import run_text


@DATASETS.register_module()
class VOC12Dataset(WSSSDataset):
    """Read PASCAL VOC 2012: background and 20 classes, named and coloured as in mmseg."""

    METAINFO: ClassVar[dict] = PascalVOCDataset.METAINFO
    prepare_hint = f"`{run_text('download', 'voc12')}` gets it (docs/data.md), or set data_root"

"""Where the data sets and ImageNet weights are published: the one place of their addresses.

docs/data.md and docs/weights.md show the same; a test compares them.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody else publishes.

    Args:
        url: Its address.
        page: Where its publisher describes it, for when the address is no longer good.
        checksum: ``md5:...`` or ``sha256:...`` with all digits, or the first ones where only these
            are published (in names such as ``vgg16-397923af.pth``).
        size: Bytes; None where nobody publishes them.
        unpack_to: For an archive: the folder below the data folder that it is unpacked into.
        save_as: For weights: the name that our configs look for, below the weights folder.
    """

    url: str
    page: str
    checksum: str
    size: int | None = None
    unpack_to: str | None = None
    save_as: str | None = None

    @property
    def name(self) -> str:
        """The name in the address."""
        return posixpath.basename(self.url)


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
_SBD = "http://home.bharathh.info/pubs/codes/SBD/download.html"
_COCO = "https://cocodataset.org/#download"
_SEGFORMER = "https://github.com/open-mmlab/mmsegmentation/tree/main/configs/segformer"
_MIT = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/"
_TORCHVISION = "https://pytorch.org/vision/stable/models.html"

# What `tools/download.py` is asked for. MD5 are torchvision's, COCO's SHA-256 TensorFlow Datasets'.
PUBLISHED: dict[str, tuple[PublishedFile, ...]] = {
    "voc12": (
        PublishedFile(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            page=_VOC,
            checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
            size=1_999_639_040,
            unpack_to=".",
        ),
        PublishedFile(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
            "semantic_contours/benchmark.tgz",
            page=_SBD,
            checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
            size=1_419_539_633,
            unpack_to="SBD",
        ),
    ),
    "coco14": (
        PublishedFile(
            "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
            page=_COCO,
            checksum="sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            size=252_872_794,
            unpack_to="coco14",
        ),
    ),
    "coco14-photos": (
        PublishedFile(
            "http://images.cocodataset.org/zips/train2014.zip",
            page=_COCO,
            checksum="sha256:ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
            size=13_510_573_713,
            unpack_to="coco14",
        ),
        PublishedFile(
            "http://images.cocodataset.org/zips/val2014.zip",
            page=_COCO,
            checksum="sha256:fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
            size=6_645_013_297,
            unpack_to="coco14",
        ),
    ),
    "mit_b0": (
        PublishedFile(
            f"{_MIT}mit_b0_20220624-7e0fe6dd.pth",
            page=_SEGFORMER,
            checksum="sha256:7e0fe6dd",
            save_as="mit_b0.pth",
        ),
    ),
    "mit_b1": (
        PublishedFile(
            f"{_MIT}mit_b1_20220624-02e5a6a1.pth",
            page=_SEGFORMER,
            checksum="sha256:02e5a6a1",
            save_as="mit_b1.pth",
        ),
    ),
    "resnet101": (
        PublishedFile(
            "https://download.pytorch.org/models/resnet101-63fe2227.pth",
            page=_TORCHVISION,
            checksum="sha256:63fe2227",
            save_as="resnet101.pth",
        ),
    ),
    "vgg16": (
        PublishedFile(
            "https://download.pytorch.org/models/vgg16-397923af.pth",
            page=_TORCHVISION,
            checksum="sha256:397923af",
            save_as="vgg16.pth",
        ),
    ),
}

"""Where the pieces of VOC 2012 and SBD lie, and which images the splits have.

SBD, the masks that widen VOC 2012 (Hariharan et al., ICCV 2011), are Matlab files ``cls/<id>.mat``
with a struct ``GTcls`` whose field ``Segmentation`` holds the labels 0..20. scipy reads such files
as data; nothing in them is run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afa.datasets.wsss_dataset import read_split

# The published sizes: VOC 2012, and VOC train with SBD's train and val, without VOC val.
NUM_IMAGES = {"train_aug": 10582, "train": 1464, "val": 1449, "trainval": 2913, "test": 1456}
NUM_SBD = {"train": 8498, "val": 2857}
_NUM_NAMED = 5  # ids that a message names
# Below the folder a user names: what the archive unpacks to, from any of its levels.
_LEVELS = ("", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset")


@dataclass(frozen=True)
class VOC12Sources:
    """Name every file that the preparation reads or writes."""

    root: Path  # the folder VOC2012
    out: Path  # folder of the prepared set; often the same
    sbd: Path | None = None  # folder of SBD with cls/
    masks: Path | None = None  # folder of ready masks

    def photo(self, img_id: str) -> Path:
        """Return the photo of an image."""
        return self.root / "JPEGImages" / f"{img_id}.jpg"

    def annotation(self, img_id: str) -> Path:
        """Return the XML of an image."""
        return self.root / "Annotations" / f"{img_id}.xml"

    def target(self, img_id: str) -> Path:
        """Return the mask that the prepared set has of an image."""
        return self.out / "SegmentationClassAug" / f"{img_id}.png"

    def split(self, name: str) -> Path:
        """Return the list of a split of the prepared set."""
        return self.out / "ImageSets" / "SegmentationAug" / f"{name}.txt"

    @property
    def image_labels(self) -> Path:
        """The image labels of the prepared set."""
        return self.out / "image_labels.json"

    def mask_sources(self, img_id: str) -> Iterator[tuple[str, Path]]:
        """Yield name and file of each mask that an image has, the best one first."""
        files = [("VOC", self.root / "SegmentationClass" / f"{img_id}.png")]
        if self.sbd is not None:
            files.append(("SBD", self.sbd / "cls" / f"{img_id}.mat"))
        if self.masks is not None:
            files.append(("ready", self.masks / f"{img_id}.png"))
        for name, path in files:
            if path.is_file():
                yield name, path


def find_sources(
    vocdevkit: str | Path,
    sbd: str | Path | None = None,
    masks: str | Path | None = None,
    out: str | Path | None = None,
) -> VOC12Sources:
    """Find VOC 2012 and the masks that widen it.

    Args:
        vocdevkit: VOCdevkit, or VOCdevkit/VOC2012.
        sbd: Folder of SBD, at any level of its archive.
        masks: Folder of ready masks. Without it and without SBD: ``SegmentationClassAug``.
        out: Folder of the prepared set; VOC2012 itself if None.

    Raises:
        ValueError: If one is missing.
    """
    if sbd is not None and masks is not None:
        raise ValueError("Give either SBD (--sbd) or ready masks (--masks), not both.")
    root = Path(vocdevkit)
    if (root / "VOC2012").is_dir():
        root = root / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        if not (root / name).is_dir():
            raise ValueError(
                f"There is no folder '{root / name}': give VOCdevkit or VOCdevkit/VOC2012 as "
                "VOCtrainval_11-May-2012.tar unpacks."
            )
    target = Path(out) if out is not None else root
    if sbd is not None:
        return VOC12Sources(root, target, sbd=find_sbd(sbd))
    if masks is not None:
        ready = [Path(masks), Path(masks) / "SegmentationClassAug"]
    else:
        ready = [folder / "SegmentationClassAug" for folder in (target, root)]
    for folder in ready:
        if any(folder.glob("*.png")):
            return VOC12Sources(root, target, masks=folder)
    raise ValueError(
        f"There are no masks '{ready[0]}/*.png': give SBD with --sbd, or a folder of ready masks "
        "(SegmentationClassAug) with --masks."
    )


def derive_lists(sources: VOC12Sources) -> dict[str, list[str]]:
    """Derive the splits: train_aug is (SBD's or the masks' images and VOC train) minus VOC val.

    Returns:
        Split to image ids: ``train_aug``, ``train``, ``val``, ``trainval``, and ``test`` where VOC
        has its list.

    Raises:
        ValueError: If a list is missing or is none, or train and val share an image.
    """
    folder = sources.root / "ImageSets" / "Segmentation"
    hint = "unpack VOCtrainval_11-May-2012.tar again"
    train, val = (_read_ids(folder / f"{name}.txt", hint) for name in ("train", "val"))
    shared = sorted(set(train) & set(val))
    if shared:
        raise ValueError(f"VOC's train.txt and val.txt share images ({_some(shared)}): {hint}.")
    if sources.sbd is not None:
        more = {img_id for ids in _read_sbd_lists(sources.sbd).values() for img_id in ids}
    else:
        assert sources.masks is not None, "find_sources finds SBD or masks"
        more = {path.stem for path in sources.masks.glob("*.png")}
    lists = {
        "train_aug": sorted((more | set(train)) - set(val)),
        "train": train,
        "val": val,
        "trainval": sorted({*train, *val}),
    }
    if (folder / "test.txt").is_file():
        lists["test"] = _read_ids(folder / "test.txt", hint)
    return lists


def check_lists(lists: Mapping[str, Collection[str]], sources: VOC12Sources) -> list[str]:
    """Compare the sizes of the splits with the published ones.

    Returns:
        A sentence for each split of another size, and for each list of SBD that explains it.
    """
    faults = [
        f"{name} has {len(ids):,} images, not {NUM_IMAGES[name]:,}."
        for name, ids in lists.items()
        if len(ids) != NUM_IMAGES[name]
    ]
    if faults and sources.sbd is not None:
        listed = _read_sbd_lists(sources.sbd)
        for name, ids in listed.items():
            if len(ids) != NUM_SBD[name]:
                path = sources.sbd / f"{name}.txt"
                faults.append(f"'{path}' has {len(ids):,} images, not {NUM_SBD[name]:,}.")
        known = {*listed["train"], *listed["val"]}
        unlisted = sorted({path.stem for path in (sources.sbd / "cls").glob("*.mat")} - known)
        if unlisted:
            faults.append(f"SBD's lists lack {len(unlisted):,} of its masks: {_some(unlisted)}.")
    return faults


def find_missing(
    lists: Mapping[str, Collection[str]], sources: VOC12Sources
) -> tuple[list[str], set[str]]:
    """Look for what the images of the splits lack.

    Returns:
        A sentence for each kind of file that lacks somewhere, and the ids that lack any.
    """
    photos, annotations = (
        {path.stem for path in (sources.root / folder).glob(pattern)}
        for folder, pattern in (("JPEGImages", "*.jpg"), ("Annotations", "*.xml"))
    )
    used = sorted({*lists["train_aug"], *lists["val"]})
    # SBD has masks of most VOC images too, but without VOC's ignored borders: no stand-in.
    only_voc = set(lists["trainval"]) if sources.sbd is not None else set()
    masks = {img_id for img_id in used if _has_mask(img_id, sources, img_id in only_voc)}
    kinds = {
        f"photos in '{sources.root / 'JPEGImages'}'": (used, photos),
        f"XML files in '{sources.root / 'Annotations'}'": (used, annotations),
        f"masks in '{sources.root / 'SegmentationClass'}'": (sorted(only_voc), masks),
        f"masks in '{sources.sbd or sources.masks}'": (
            [img_id for img_id in used if img_id not in only_voc],
            masks,
        ),
        "test photos (VOC2012test.tar has them)": (lists.get("test", ()), photos),
    }
    faults, lacking = [], set[str]()
    for kind, (wanted, there) in kinds.items():
        missing = [img_id for img_id in wanted if img_id not in there]
        if missing:
            faults.append(
                f"{len(missing):,} of {len(wanted):,} {kind} are missing: {_some(missing)}."
            )
            lacking.update(missing)
    return faults, lacking


def _has_mask(img_id: str, sources: VOC12Sources, only_voc: bool) -> bool:
    names = (name for name, _ in sources.mask_sources(img_id))
    return sources.target(img_id).is_file() or any(name != "SBD" or not only_voc for name in names)


def _read_sbd_lists(sbd: Path) -> dict[str, list[str]]:
    hint = "unpack benchmark.tgz again"
    return {name: _read_ids(sbd / f"{name}.txt", hint) for name in NUM_SBD}


def _read_ids(path: Path, hint: str) -> list[str]:
    """Read a list; its ids become names of files, so that paths are refused."""
    img_ids = read_split(path, hint)
    for img_id in img_ids:
        if "/" in img_id or "\\" in img_id or img_id.startswith(".") or "\0" in img_id:
            raise ValueError(
                f"The list '{path}' must hold ids such as 2007_000032, got '{img_id}': {hint}."
            )
    return img_ids


def _some(img_ids: Collection[str]) -> str:
    named = ", ".join(list(img_ids)[:_NUM_NAMED])
    more = len(img_ids) - _NUM_NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def find_sbd(folder: str | Path) -> Path:
    """Find the folder of SBD that has ``cls/`` and its lists, from it or from above it.

    Raises:
        ValueError: If it is not there, or lacks a list.
    """
    levels = (Path(folder) / level for level in _LEVELS)
    root = next((level for level in levels if (level / "cls").is_dir()), None)
    if root is None:
        raise ValueError(
            f"There is no SBD in '{folder}': expected 'cls/*.mat', 'train.txt' and 'val.txt' there "
            "or in its benchmark_RELEASE/dataset; unpack benchmark.tgz and give its folder."
        )
    for name in ("train.txt", "val.txt"):
        if not (root / name).is_file():
            raise ValueError(f"SBD in '{root}' has no '{name}': unpack benchmark.tgz again.")
    return root


def read_sbd_mask(path: str | Path) -> np.ndarray:
    """Read the labels of one image from ``cls/<id>.mat``.

    Returns:
        (H, W) uint8; the values are not checked beyond their fit into 0..255.

    Raises:
        ValueError: If the file is missing, broken, or holds something else.
    """
    from scipy.io import loadmat

    if not Path(path).is_file():
        raise ValueError(f"There is no SBD file '{path}': unpack benchmark.tgz again.")
    try:
        struct = loadmat(path, appendmat=False, variable_names=["GTcls"]).get("GTcls")
    except Exception as error:  # a broken file brings scipy to errors of many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"SBD file '{path}' is broken ({reason}): unpack benchmark.tgz again."
        ) from error
    label = None
    if isinstance(struct, np.ndarray) and "Segmentation" in (struct.dtype.names or ()):
        label = struct.ravel()[0]["Segmentation"] if struct.size else None
    if not isinstance(label, np.ndarray) or label.ndim != 2 or label.dtype.kind not in "uif":
        raise ValueError(
            f"SBD file '{path}' has no matrix GTcls.Segmentation: take the files in SBD's cls/."
        )
    narrow = np.clip(np.nan_to_num(label, nan=-1.0), 0, 255).astype(np.uint8)
    if label.size == 0 or not np.array_equal(narrow, label):
        raise ValueError(f"SBD file '{path}': GTcls.Segmentation must hold labels 0..255.")
    return narrow

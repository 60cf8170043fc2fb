"""Read SBD, the masks that widen VOC 2012 (Hariharan et al., ICCV 2011).

A mask is a Matlab file ``cls/<id>.mat`` with a struct ``GTcls`` whose field ``Segmentation`` holds
the labels 0..20. scipy reads such files as data; nothing in them is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Below the folder a user names: what the archive unpacks to, from any of its levels.
_LEVELS = ("", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset")


def find_sbd(folder: str | Path) -> Path:
    """Find the folder of SBD that has ``cls/``, ``train.txt`` and ``val.txt``.

    Args:
        folder: That folder, or one of those above it in the archive.

    Returns:
        The folder.

    Raises:
        ValueError: If it is not there, or lacks a list.
    """
    for level in _LEVELS:
        root = Path(folder) / level
        if (root / "cls").is_dir():
            break
    else:
        raise ValueError(
            f"There is no SBD in '{folder}': expected 'cls/*.mat', 'train.txt' and 'val.txt' there "
            "or in its benchmark_RELEASE/dataset; unpack benchmark.tgz and give its folder."
        )
    for name in ("train.txt", "val.txt"):
        if not (root / name).is_file():
            raise ValueError(f"SBD in '{root}' has no '{name}': unpack benchmark.tgz again.")
    return root


def read_sbd_mask(path: str | Path) -> np.ndarray:
    """Read the labels of one image.

    Args:
        path: ``cls/<id>.mat``.

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

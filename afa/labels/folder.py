"""Folders of label maps, kept maps and features: what lies where, and what must not be mixed.

D channels of a feature.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from afa.evaluation.threshold_sweep import read_counts
from afa.files.label_png import is_whole_label_png
from afa.files.maps import BROKEN, ImageMaps, is_whole_maps, read_maps
from afa.files.whole_file import read_json, safe_join, write_bytes, write_json

SETTINGS, SUMMARY, PLOT = "settings.json", "summary.json", "sweep.png"
_CAMS = "tools/pseudo_labels.py --kind cam --save-maps makes them"
_WALKED = "tools/random_walk.py --save-maps makes them"


def file_digest(path: Path) -> str:
    """Digest the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def config_digest(node: Any) -> str:
    """Digest a part of a config; initial weights do not count."""
    text = json.dumps(_without_init(node), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_init(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_init(value) for key, value in node.items() if key != "init_cfg"}
    return [_without_init(item) for item in node] if isinstance(node, (list, tuple)) else node


def network_digests(checkpoint: str | Path, model: Mapping[str, Any]) -> dict[str, str]:
    """Name the network of a folder's files: its checkpoint, and the ``model`` of its config."""
    path = Path(checkpoint)
    return dict(
        checkpoint=f"{path.name}, sha256 {file_digest(path)}",
        model=config_digest(model),
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Read how the files of a folder were made; empty where it is not known."""
    try:
        found = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def settings_changed(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the settings in which two differ, with both values; empty where they are the same."""
    return ", ".join(
        f"{name} was {_short(found.get(name))}, now {_short(wanted.get(name))}"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class GuardedFolder:
    """A folder of one tool; ``settings.json`` says what decides the content of its files.

    Files of other settings are refused, or replaced on demand; those of others are left alone.

    Args:
        path: the folder; need not be there yet.
    """

    folders: ClassVar[Mapping[str, str]]  # sub-folders, and the suffix of their files
    figures: ClassVar[Sequence[str]] = ()  # files that go when those of the sub-folders go
    holds: ClassVar[str]  # what to say of files that other settings have made

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(self, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        """Make the folder, or refuse one where something could be lost or mixed up.

        Args:
            settings: what decides the content of the files; ``tool`` is the tool's name.
            overwrite: remove the files that are there first.

        Raises:
            ValueError: if it holds files made with other settings, or files of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"'{self.path}' is a file: give another folder with --out.")
        found = read_settings(self.path)
        ours = found.get("tool") == settings["tool"]
        taken = [name for name in self.folders if (self.path / name).exists()]
        if taken and not ours:
            raise ValueError(
                f"'{self.path}' has a folder '{taken[0]}', but no {SETTINGS} of this tool: give "
                "another folder with --out; this one is left as it is."
            )
        changed = settings_changed(found, settings)
        if ours and changed and not overwrite:
            raise ValueError(
                f"'{self.path}' holds {self.holds.format(changed=changed)}: give another folder "
                "with --out, or replace them with --overwrite."
            )
        if ours and overwrite:
            self._clear()
        for name in self.folders:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_json(self.path / SETTINGS, settings)

    def _clear(self) -> None:
        """Remove the files; the settings stay until others replace them."""
        for name, suffix in self.folders.items():
            for path in (self.path / name).rglob(f"*{suffix}"):
                path.unlink()
        for name in self.figures:
            (self.path / name).unlink(missing_ok=True)


class LabelFolder(GuardedFolder):
    """Name and find the files of label maps.

    ::

        settings.json      how the labels were made
        labels/ID.png      label map, indexed PNG at the size of the photo; written last
        maps/ID.npz        maps, where asked for
        sweep/ID.npz       what the image counts at each background score, where asked for
        summary.json       figures; sweep.png: their plot
    """

    folders = {"labels": ".png", "maps": ".npz", "sweep": ".npz"}
    figures = (SUMMARY, PLOT)
    holds = "labels that were made with other settings ({changed})"

    def file(self, kind: str, img_id: str) -> Path:
        """Name a file of an image.

        Args:
            kind: ``'labels'``, ``'maps'`` or ``'sweep'``.
            img_id: the image.

        Raises:
            ValueError: if the id would lead out of the folder.
        """
        return safe_join(self.path / kind, img_id, self.folders[kind])

    def is_finished(
        self, img_id: str, with_maps: bool = False, scores: Sequence[float] = ()
    ) -> bool:
        """Tell whether all files of an image are there and whole.

        Args:
            img_id: the image.
            with_maps: whether maps are wanted.
            scores: background scores of the sweep that is wanted; empty for none.
        """
        return (
            is_whole_label_png(self.file("labels", img_id))
            and (not with_maps or is_whole_maps(self.file("maps", img_id)))
            and (not scores or read_counts(self.file("sweep", img_id), scores) is not None)
        )

    def make_parents(self, img_ids: Iterable[str]) -> None:
        """Make the folders of ids that have some (``a/b``)."""
        for parent in {img_id.rpartition("/")[0] for img_id in img_ids if "/" in img_id}:
            for name in self.folders:
                safe_join(self.path / name, parent).mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what killed processes have left half written, and folders that stayed empty."""
        for name in self.folders:
            for part in (self.path / name).rglob("*.part"):
                part.unlink(missing_ok=True)
        for name in ("maps", "sweep"):
            if not any((self.path / name).iterdir()):
                (self.path / name).rmdir()


class MapFolder:
    """Read the maps that an earlier stage has kept, by the ids of their images.

    Args:
        path: the folder with the files ``ID.npz``, or the one above it, which
            ``tools/pseudo_labels.py`` or ``tools/random_walk.py`` was given.
        walked: whether they are maps after the random walk, the background first, not CAMs.

    Raises:
        ValueError: if there is no such folder.
    """

    def __init__(self, path: str | Path, walked: bool = False) -> None:
        path = Path(path)
        self.path = path / "maps" if (path / "maps").is_dir() else path
        self.walked = walked
        self._hint = _WALKED if walked else _CAMS
        if not self.path.is_dir():
            raise ValueError(f"There is no folder of maps '{path}': {self._hint}.")

    @property
    def settings(self) -> dict[str, Any]:
        """How the maps were made, from the file beside the folder; empty where it is not known."""
        return read_settings(self.path.parent)

    def read(self, img_id: str, size: Sequence[int], num_classes: int) -> ImageMaps:
        """Read the maps of an image.

        Args:
            img_id: the image.
            size: height and width of its photo.
            num_classes: C, with the background.

        Returns:
            labels 1..K and maps of the present classes, of which there may be none; 0 and the map
            of the background before them where they have walked.

        Raises:
            ValueError: if there are none, the file is broken, or they are not such maps of this
                photo.
        """
        path = safe_join(self.path, img_id, ".npz")
        if not path.is_file():
            raise ValueError(
                f"There are no maps of the image '{img_id}' in '{self.path}': {self._hint} for "
                "each image of the split."
            )
        maps = read_maps(path)
        if maps.size != tuple(size):
            raise ValueError(
                f"'{path}' holds maps of a photo of {maps.size} pixels (height, width), but photo "
                f"'{img_id}' has {tuple(size)}: make the maps of this data set."
            )
        if self.walked and maps.classes[:1] != [0]:
            raise ValueError(
                f"'{path}' holds no map of the background, so that its maps have not walked: "
                f"{self._hint}."
            )
        if not self.walked and 0 in maps.classes:
            raise ValueError(
                f"'{path}' holds a map of the background, which comes from CAMs here: {self._hint}."
            )
        if maps.classes and maps.classes[-1] >= num_classes:
            raise ValueError(
                f"'{path}' holds a map of class {maps.classes[-1]}, but the data set has "
                f"{num_classes - 1} classes: make the maps of this data set."
            )
        return maps


class FeatureFolder(GuardedFolder):
    """Name, write and read the features of a list of images, some images to a file.

    ::

        settings.json        how the features were made
        features/00000.npz   arrays ``ids`` and ``features`` (n, D) float32 of the first images

    Args:
        path: the folder; need not be there yet.
        img_ids: the images.
        per_file: how many images share a file.
    """

    folders = {"features": ".npz"}
    holds = "features of another checkpoint or config"

    def __init__(self, path: str | Path, img_ids: Sequence[str], per_file: int = 64) -> None:
        super().__init__(path)
        self.parts = [
            list(img_ids[start : start + per_file]) for start in range(0, len(img_ids), per_file)
        ]

    def missing(self) -> list[int]:
        """List the parts that are missing, broken, or of other images."""
        return [part for part in range(len(self.parts)) if self._read(part) is None]

    def write(self, part: int, features: np.ndarray) -> None:
        """Write the features (n, D) of a part; the file is there whole or not at all."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, ids=np.array(self.parts[part]), features=features.astype(np.float32)
        )
        write_bytes(self._file(part), buffer.getvalue())

    def read(self) -> np.ndarray:
        """Read the features of all images, (n, D) float32.

        Raises:
            ValueError: if some are missing.
        """
        read = [self._read(part) for part in range(len(self.parts))]
        found = [one for one in read if one is not None]
        if len(found) != len(read) or len({one.shape[1] for one in found}) != 1:
            raise ValueError(
                f"Features in '{self.path}' have gone or are broken: run the same command again."
            )
        return np.concatenate(found)

    def _file(self, part: int) -> Path:
        return self.path / "features" / f"{part:05d}.npz"

    def _read(self, part: int) -> np.ndarray | None:
        """Read a part; None where it is missing, broken, or of other images."""
        try:
            with np.load(self._file(part), allow_pickle=False) as file:
                ids, features = file["ids"].tolist(), file["features"]
        except (OSError, *BROKEN):
            return None
        fits = features.ndim == 2 and len(features) == len(ids)
        return features if fits and ids == self.parts[part] else None

"""Features of images in a folder, some images to a file: what clustering reads.

D channels.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afa.apis.label_folder import SETTINGS
from afa.utils.files import read_json, write_bytes, write_json
from afa.utils.maps_npz import BROKEN


class FeatureFolder:
    """Name, write and read the features of a list of images.

    ::

        settings.json        how the features were made
        features/00000.npz   arrays ``ids`` and ``features`` (n, D) float32 of the first images

    Args:
        path: the folder; need not be there yet.
        img_ids: the images.
        per_file: how many images share a file.
    """

    def __init__(self, path: str | Path, img_ids: Sequence[str], per_file: int = 64) -> None:
        self.path = Path(path)
        self.parts = [
            list(img_ids[start : start + per_file]) for start in range(0, len(img_ids), per_file)
        ]

    def _file(self, part: int) -> Path:
        return self.path / "features" / f"{part:05d}.npz"

    def prepare(self, settings: Mapping[str, Any], overwrite: bool = False) -> list[int]:
        """Make the folder and tell which parts are missing.

        Args:
            settings: what decides the features.
            overwrite: remove the features that are there first.

        Raises:
            ValueError: if it holds features made with other settings, or files of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"'{self.path}' is a file: give another folder with --out.")
        folder = self.path / "features"
        if folder.exists():
            if self._settings().get("tool") != settings["tool"]:
                raise ValueError(
                    f"'{self.path}' has a folder 'features', but no {SETTINGS} of this tool: give "
                    "another folder with --out; this one is left as it is."
                )
            if not overwrite and self._settings() != dict(settings):
                raise ValueError(
                    f"'{self.path}' holds features of another checkpoint or config: give another "
                    "folder with --out, or replace them with --overwrite."
                )
            if overwrite:
                shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path / SETTINGS, settings)
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

    def _read(self, part: int) -> np.ndarray | None:
        """Read a part; None where it is missing, broken, or of other images."""
        try:
            with np.load(self._file(part), allow_pickle=False) as file:
                ids, features = file["ids"].tolist(), file["features"]
        except (OSError, *BROKEN):
            return None
        fits = features.ndim == 2 and len(features) == len(ids)
        return features if fits and ids == self.parts[part] else None

    def _settings(self) -> dict[str, Any]:
        try:
            found = read_json(self.path / SETTINGS)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

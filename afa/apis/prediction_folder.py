"""The folder that predictions go to: what lies where, what is complete, what must not be mixed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afa.apis.summary import write_picture
from afa.files.label_png import write_label_png
from afa.files.whole_file import read_json, safe_join, write_json

SETTINGS = "predict.json"  # tells a folder of predictions from any other, and how they were made
KINDS = ("labels", "overlays", "cams", "json")


class PredictionFolder:
    """Write and find the files of predicted photos.

    ::

        predict.json             how the predictions were made
        labels/NAME.png          label map, indexed PNG at the size of the photo
        overlays/NAME.jpg        photo, colours, names
        cams/NAME/01_CLASS.jpg   photo and CAM, one for each class
        json/NAME.json           figures, and which files there are; written last

    Args:
        path: the folder; need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(
        self, settings: Mapping[str, Any], photos: Iterable[Path], overwrite: bool = False
    ) -> None:
        """Make the folder, or refuse one where something could be lost or mixed up.

        Args:
            settings: what must agree among all predictions of a folder.
            photos: the photos to predict.
            overwrite: allow predictions made with other settings.

        Raises:
            ValueError: if it holds the photos, other files in the places of predictions, or
                predictions made with other settings.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise ValueError(f"'{path}' is a file: give another folder for the results.")
        real = os.path.realpath(path)
        for photo in photos:
            if os.path.realpath(photo).startswith(real + os.sep):
                raise ValueError(
                    f"The photo '{photo}' lies in '{path}', the folder for the results: give "
                    "another one, so that no photo is overwritten."
                )
        if (path / SETTINGS).is_file():
            made = _read_json(path / SETTINGS)
            different = [key for key, value in settings.items() if made.get(key) != value]
            if different and not overwrite:
                raise ValueError(
                    f"'{path}' holds predictions made with other settings "
                    f"({', '.join(different)}): give another folder, or replace them with "
                    "--overwrite."
                )
        elif taken := [kind for kind in KINDS if (path / kind).exists()]:
            raise ValueError(
                f"'{path}' has a folder '{taken[0]}', but no {SETTINGS} of an earlier prediction: "
                "give another folder for the results; this one is left as it is."
            )
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / SETTINGS, settings)

    def read(self, name: str) -> dict[str, Any]:
        """Read the record of a photo; empty if there is none, or not all files that it names."""
        record = _read_json(safe_join(self.path / "json", name, ".json"))
        files = [record.get("label"), record.get("overlay"), *_cams(record).values()]
        whole = all(isinstance(file, str) and (self.path / file).is_file() for file in files)
        return record if whole else {}

    def write_label(self, name: str, label: np.ndarray, palette: Sequence[Sequence[int]]) -> str:
        """Write a label map (H, W) uint8; return its place in the folder."""
        place = self._place("labels", name, ".png")
        write_label_png(self.path / place, label, palette)
        return place

    def write_overlay(self, name: str, picture: np.ndarray) -> str:
        """Write an overlay (H, W, 3) RGB; return its place in the folder."""
        place = self._place("overlays", name, ".jpg")
        write_picture(self.path / place, picture)
        return place

    def write_cam(self, name: str, index: int, class_name: str, picture: np.ndarray) -> str:
        """Write the picture of a CAM (H, W, 3) RGB; return its place in the folder.

        Args:
            name: of the photo.
            index: of the class; class names may have signs that file names have not.
            class_name: of the class.
            picture: RGB uint8.
        """
        stem = re.sub(r"[^\w.-]+", "_", class_name)
        place = self._place("cams", f"{name}/{index:02d}_{stem}", ".jpg")
        write_picture(self.path / place, picture)
        return place

    def remove_cams(self, name: str) -> None:
        """Remove the pictures of CAMs that the record of a photo names."""
        own = safe_join(self.path / "cams", name)
        record = _read_json(safe_join(self.path / "json", name, ".json"))
        for place in _cams(record).values():
            (own / Path(str(place)).name).unlink(missing_ok=True)

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write the record of a photo whose other files are there."""
        write_json(self.path / self._place("json", name, ".json"), record)

    def _place(self, kind: str, name: str, suffix: str) -> str:
        path = safe_join(self.path / kind, name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.relative_to(self.path).as_posix()


def _cams(record: Mapping[str, Any]) -> Mapping[str, Any]:
    cams = record.get("cams")
    return cams if isinstance(cams, Mapping) else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

"""CAMs that an earlier stage has left in a folder, as the next stage reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afa.apis.label_folder import FOLDERS, SETTINGS
from afa.utils.files import read_json, safe_join
from afa.utils.maps_npz import ImageMaps, read_maps

_HINT = "tools/pseudo_labels.py --kind cam --save-maps makes them"


class MapFolder:
    """Read the CAMs of images by their ids.

    Args:
        path: the folder with the files ``ID.npz``, or the one above it, which
            ``tools/pseudo_labels.py`` was given.

    Raises:
        ValueError: if there is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path = path / "maps" if (path / "maps").is_dir() else path
        if not self.path.is_dir():
            raise ValueError(f"There is no folder of maps '{path}': {_HINT}.")

    @property
    def settings(self) -> dict[str, Any]:
        """How the maps were made, from the file beside the folder; empty where it is not known."""
        try:
            found = read_json(self.path.parent / SETTINGS)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def read(self, img_id: str, size: Sequence[int], num_classes: int) -> ImageMaps:
        """Read the CAMs of an image.

        Args:
            img_id: the image.
            size: height and width of its photo.
            num_classes: C, with the background.

        Returns:
            Labels 1..K and maps of the present classes; there may be none.

        Raises:
            ValueError: if there are none, the file is broken, or they are not CAMs of this photo.
        """
        path = safe_join(self.path, img_id, FOLDERS["maps"])
        if not path.is_file():
            raise ValueError(
                f"There are no maps of the image '{img_id}' in '{self.path}': {_HINT} for each "
                "image of the split."
            )
        maps = read_maps(path)
        if maps.size != tuple(size):
            raise ValueError(
                f"'{path}' holds maps of a photo of {maps.size} pixels (height, width), but photo "
                f"'{img_id}' has {tuple(size)}: make the maps of this data set."
            )
        if 0 in maps.classes:
            raise ValueError(
                f"'{path}' holds a map of the background, which comes from CAMs here: {_HINT}."
            )
        if maps.classes and maps.classes[-1] >= num_classes:
            raise ValueError(
                f"'{path}' holds a map of class {maps.classes[-1]}, but the data set has "
                f"{num_classes - 1} classes: make the maps of this data set."
            )
        return maps

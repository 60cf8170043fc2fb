"""Maps that an earlier stage has left in a folder, as the next stage reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afa.apis.label_folder import FOLDERS, SETTINGS
from afa.utils.files import read_json, safe_join
from afa.utils.maps_npz import ImageMaps, read_maps

_CAMS = "tools/pseudo_labels.py --kind cam --save-maps makes them"
_WALKED = "tools/random_walk.py --save-maps makes them"


class MapFolder:
    """Read the maps of images by their ids.

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
        try:
            found = read_json(self.path.parent / SETTINGS)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def read(self, img_id: str, size: Sequence[int], num_classes: int) -> ImageMaps:
        """Read the maps of an image.

        Args:
            img_id: the image.
            size: height and width of its photo.
            num_classes: C, with the background.

        Returns:
            Labels 1..K and maps of the present classes, of which there may be none; 0 and the map
            of the background before them where they have walked.

        Raises:
            ValueError: if there are none, the file is broken, or they are not such maps of this
                photo.
        """
        path = safe_join(self.path, img_id, FOLDERS["maps"])
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

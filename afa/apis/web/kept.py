"""The photos that a server keeps: so many, of so many bytes, the oldest go first."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from afa.apis.photo_maps import PhotoMaps

MAX_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class KeptPhoto:
    """A photo and what the model made of it.

    Args:
        name: the name of its file, without folders.
        photo: (H', W', 3) RGB uint8, at the size at which it is shown.
        maps: what the model made of the whole photo.
    """

    name: str
    photo: np.ndarray
    maps: PhotoMaps

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return self.photo.nbytes + self.maps.num_bytes


class KeptPhotos:
    """Keep photos under names that nobody can guess.

    Args:
        max_photos: so many at most.
        max_bytes: of so much memory at most; the newest stays, however large it is.
    """

    def __init__(self, max_photos: int, max_bytes: int = MAX_BYTES) -> None:
        self.max_photos = max_photos
        self.max_bytes = max_bytes
        self._photos: OrderedDict[str, KeptPhoto] = OrderedDict()

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def num_bytes(self) -> int:
        """Memory that all of them take."""
        return sum(photo.num_bytes for photo in self._photos.values())

    def add(self, photo: KeptPhoto) -> str:
        """Keep a photo, and give the name to find it by."""
        key = secrets.token_urlsafe(16)
        self._photos[key] = photo
        while len(self) > 1 and (len(self) > self.max_photos or self.num_bytes > self.max_bytes):
            self._photos.popitem(last=False)
        return key

    def find(self, key: str) -> KeptPhoto | None:
        """Find a photo; being used makes it young again."""
        if key in self._photos:
            self._photos.move_to_end(key)
        return self._photos.get(key)

    def forget(self, key: str) -> None:
        """Keep a photo no longer."""
        self._photos.pop(key, None)

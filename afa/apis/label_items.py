"""What data workers prepare: photos for the network, and counts of finished label maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from afa.apis.split_data import SplitData
from afa.evaluation.confusion import confusion_matrix
from afa.utils.label_png import read_label_png


class Items(Dataset):
    """Prepare images one by one; what is wrong with one comes as a sentence, not as a traceback.

    Args:
        prepare: Makes the item of an image.
        indices: The images.
    """

    def __init__(self, prepare: Callable[[int], Any], indices: Sequence[int]) -> None:
        self.prepare = prepare
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, Any, str | None]:
        """Give the index of the image, its item, and what is wrong with it or None."""
        index = self.indices[place]
        try:
            return index, self.prepare(index), None
        except (ValueError, OSError) as error:
            return index, None, str(error)

    def loader(self, num_workers: int) -> DataLoader:
        """Load the items in their order, in data workers."""
        return DataLoader(self, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)


def _as_it_is(item: Any) -> Any:
    return item


class PhotoItem:
    """Prepare an image for the network: a function that data workers can be given.

    Args:
        data: The images.
        max_side: Longest side of the photo that goes along for the CRF; None for none.
        with_mask: Whether masks go along, where there are some.
    """

    def __init__(self, data: SplitData, max_side: int | None, with_mask: bool) -> None:
        self.data = data
        self.max_side = max_side
        self.with_mask = with_mask

    def __call__(self, index: int) -> dict[str, Any]:
        """Give ``packed``, ``size`` (height, width), ``photo`` RGB or None, ``truth`` or None."""
        packed = self.data.packed(index)
        size = tuple(packed["data_samples"].metainfo["ori_shape"][:2])
        photo = None if self.max_side is None else self._photo(index, size)
        has_mask = self.with_mask and self.data.has_mask(index)
        truth = self.data.mask(index, size) if has_mask else None
        return dict(packed=packed, size=size, photo=photo, truth=truth)

    def _photo(self, index: int, size: tuple[int, int]) -> np.ndarray:
        photo = self.data.photo(index)
        if photo.shape[:2] != size:
            raise ValueError(
                f"Photo '{self.data.ids[index]}' is {photo.shape[:2]} but its test pipeline says "
                f"{size}: it must load the photo first, and resize after."
            )
        assert self.max_side is not None, "there is a photo"
        share = self.max_side / max(size)
        if share < 1:
            smaller = [max(1, round(side * share)) for side in size]
            photo = cv2.resize(photo, smaller[::-1], interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(photo[..., ::-1])


class CountItem:
    """Count the pixels of a label map that has been written: a function for data workers.

    Args:
        data: The images.
        file: Names the label map of an image id.
    """

    def __init__(self, data: SplitData, file: Callable[[str], Path]) -> None:
        self.data = data
        self.file = file

    def __call__(self, index: int) -> Tensor:
        """Give the counts (C, C + 1), see :func:`confusion_matrix`."""
        label = read_label_png(self.file(self.data.ids[index]))
        truth = self.data.mask(index, label.shape)
        label, truth = torch.from_numpy(label), torch.from_numpy(truth)
        try:
            return confusion_matrix(label, truth, len(self.data.classes))
        except ValueError as error:
            raise ValueError(f"Image '{self.data.ids[index]}': {error}.") from error

"""Make and check the label map of one image of COCO 2014."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from afa.utils.coco_mask import Region, draw_label
from afa.utils.files import safe_join
from afa.utils.label_png import is_whole_label_png, write_label_png


class ImageResult(NamedTuple):
    """What became of one image.

    Args:
        made: Whether its label map was drawn; False if it was there already.
        fault: Why it cannot be used, in a few words; empty if it can.
    """

    made: bool
    fault: str = ""


def prepare_image(
    img_id: str,
    height: int,
    width: int,
    regions: list[Region],
    photos: Path,
    masks: Path,
    crowd: str = "class",
) -> ImageResult:
    """Check the photo of an image and draw its label map, unless it is there complete.

    Args:
        img_id: The image.
        height: Rows, as the annotations say.
        width: Columns, as the annotations say.
        regions: Its annotations.
        photos: Folder of the photos.
        masks: Folder of the label maps.
        crowd: ``'class'`` or ``'ignore'``, see :func:`draw_label`.

    Returns:
        What was done; a fault of the input is part of it and not raised.

    Raises:
        OSError: If the label map cannot be written.
    """
    path = safe_join(masks, img_id, ".png")
    try:
        _check_photo(safe_join(photos, img_id, ".jpg"), height, width)
        if is_whole_label_png(path, height, width):
            return ImageResult(False)
        label = draw_label(regions, height, width, crowd)
    except ValueError as error:
        return ImageResult(False, str(error))
    write_label_png(path, label)
    if not is_whole_label_png(path, height, width):
        raise OSError(f"Label map '{path}' was written and is not whole: check the disk.")
    return ImageResult(True)


def _check_photo(path: Path, height: int, width: int) -> None:
    """Compare the stored size of a photo, before any EXIF rotation, with that of its annotations.

    COCO's annotations count the pixels as they are stored.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header
            with Image.open(path) as photo:
                size = photo.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("its photo cannot be read") from error
    if size != (width, height):
        raise ValueError(
            f"its photo has {size[0]}x{size[1]} pixels, its annotations {width}x{height}"
        )

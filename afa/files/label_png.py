"""Label maps as indexed PNG: one byte per pixel, and colours for the eye."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from afa.files.whole_file import write_bytes

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_GREY, _PALETTE = 0, 3  # PNG's colour types with one channel and no alpha
_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
# Each is as far as possible (CIEDE2000) from those before it and from black, grey, white and the
# colour of undecided pixels, also where they are mixed with a photo.
_DISTINCT = bytes.fromhex(
    "e020200000ffff20ff00600060400080004000c0ffffa00020c000ffa0a000ffe0a0a0ff006060808000"
    "404060ffe00000a080a06080ffc0ff0080e0802000a000a0c06000c0a080c0ff208060ffff408080c0c0"
    "60604000ff80400080ff804080a060c0e0ff206080c0c060e080c06060a0204020804040a080c0ffc0a0"
    "e020a0c06060806040c000400040a0a0e0a0608060a08040404000c0a000408000602060c000ff00e0ff"
    "c0a0c00080a0ffe0a0ff606040c080c080600060408060004080800060e000a04060a0ff00a0a0ff4000"
    "80a000c080ff60a0c0008040ffc0208080a0a04000ff80ff6040c0606000"
)


def bit_palette(num_classes: int) -> list[list[int]]:
    """Return VOC's colour map: the bits of the label, spread over red, green and blue.

    At most 256 RGB colours 0..255; the first is black.
    """
    return [
        [sum(((label >> (3 * n + color)) & 1) << (7 - n) for n in range(3)) for color in range(3)]
        for label in range(num_classes)
    ]


def distinct_palette(num_classes: int) -> list[list[int]]:
    """Return colours that the eye tells apart, for data whose colours nobody has published.

    At most 256 RGB colours 0..255; the first is black. The first 81 are chosen for distance, the
    others are what is left of VOC's.
    """
    chosen = [[0, 0, 0], *np.frombuffer(_DISTINCT, np.uint8).reshape(-1, 3).tolist()]
    others = [color for color in bit_palette(256) if color not in chosen]
    return (chosen + others)[:num_classes]


def write_label_png(
    path: str | Path, label: np.ndarray, palette: Sequence[Sequence[int]] | None = None
) -> None:
    """Write a label map as indexed PNG; the file is there whole or not at all.

    Args:
        path: The file; its folder must be there.
        label: (H, W) uint8.
        palette: RGB colours 0..255 of the first labels; the others get VOC's colours.

    Raises:
        ValueError: If the label map has another shape or type, or there are more than 256 colours.
        OSError: If the file cannot be written.
    """
    write_bytes(path, encode_label_png(label, palette, path))


def encode_label_png(
    label: np.ndarray, palette: Sequence[Sequence[int]] | None = None, name: str | Path = "it"
) -> bytes:
    """Encode a label map; see :func:`write_label_png`. Messages say its ``name``."""
    if label.ndim != 2 or label.dtype != np.uint8 or label.size == 0:
        raise ValueError(
            f"A label map must be (H, W) uint8, got {label.shape} {label.dtype} for '{name}'."
        )
    colors = list(palette or ())
    if len(colors) > 256:
        raise ValueError(f"An indexed PNG has at most 256 colours, got {len(colors)}.")
    colors += bit_palette(256)[len(colors) :]
    image = Image.fromarray(label)
    image.putpalette([int(value) for color in colors for value in color])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def read_label_png(path: str | Path) -> np.ndarray:
    """Read a label map from an indexed PNG, or an 8-bit grey one.

    Returns:
        (H, W) uint8: the values as stored, not their colours.

    Raises:
        ValueError: If the file is missing, broken, or holds colours where labels belong.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"Label map '{path}' cannot be read ({error.strerror}).") from error
    _check_header(data, path)
    try:
        with warnings.catch_warnings():
            # Large photos have large masks; a file of one channel is no decompression bomb yet.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Label map '{path}' is broken ({error}): replace it.") from error


def is_whole_label_png(
    path: str | Path, height: int | None = None, width: int | None = None
) -> bool:
    """Tell whether a label map is there, of this size and not cut off, without decoding it.

    A height or width of None stands for any. False too if the file is missing, no PNG, or holds
    colours where labels belong.
    """
    try:
        with Path(path).open("rb") as file:
            header = file.read(33)
            file.seek(-len(_PNG_END), os.SEEK_END)
            end = file.read()
        _check_header(header, path)
    except (OSError, ValueError):
        return False
    rows, columns = (int.from_bytes(header[start : start + 4], "big") for start in (20, 16))
    return end == _PNG_END and height in (None, rows) and width in (None, columns)


def _check_header(data: bytes, path: str | Path) -> None:
    """Refuse what is not a PNG of labels: Pillow would stretch or mix its values silently."""
    if not data.startswith(_PNG_MAGIC) or len(data) < 33:
        raise ValueError(f"Label map '{path}' is no PNG file: replace it.")
    depth, color_type = data[24], data[25]
    if color_type != _PALETTE and (color_type, depth) != (_GREY, 8):
        kind = f"{depth}-bit {_COLOR_TYPES.get(color_type, 'unknown')}"
        raise ValueError(
            f"Label map '{path}' must be an indexed or 8-bit grey PNG whose values are labels, "
            f"got {kind}: take the masks before they were coloured, or convert colours to labels."
        )

"""Read a photo as it really comes: any common kind of file becomes 8-bit colour. Write pictures.

JPEG, which most photos are, is decoded by OpenCV as mmcv does, with the same values; everything
else, and the JPEGs that OpenCV does not know, by Pillow. What comes out of each kind stands in
docs/data.md. OpenCV up to version 4 turns a truncated JPEG into a picture that is grey from some
row on, without a word: looking for the end marker costs next to nothing beside decoding. H, W:
height and width of the photo.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from afa.files.whole_file import write_bytes

# Where Pillow too refuses a picture: a file of some kilobytes can claim to be gigabytes large.
MAX_PIXELS = 178_956_970  # 13,377 x 13,377
# A scan of a progressive JPEG takes 75 bytes and walks over the whole picture. Encoders make about
# 10; other data behind the picture, such as a film, may look like some more.
MAX_SCANS = 500
# Not every format that Pillow has: EPS, for one, would start another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
# What a JPEG can be decoded at without decoding it all: 1/8 takes its mean of each block.
_REDUCED = {n: getattr(cv2, f"IMREAD_REDUCED_COLOR_{n}") for n in (8, 4, 2)}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
# Markers of a JPEG file.
_START = b"\xff\xd8"
_END = b"\xff\xd9"
_SCAN = 0xDA
# Start of frame; C4, C8 and CC in this range are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def read_photo(
    path: str | Path, apply_exif: bool = True, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a photo.

    Args:
        path: The file.
        apply_exif: Turn the photo as its EXIF orientation says.
        max_pixels: Photos with more pixels are refused.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: If the file is missing, no photo, truncated, broken or too large.
    """
    return decode_photo(read_photo_bytes(path), path, apply_exif, max_pixels)


def read_photo_bytes(path: str | Path) -> bytes:
    """Read the file of a photo.

    Raises:
        ValueError: If it is not there, or may not be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"Photo '{path}' cannot be read ({error.strerror}): mend the path or its rights."
        ) from error


def write_picture(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB picture (H, W, 3) uint8 as PNG or JPEG; the file is there whole or not at all.

    Raises:
        ValueError: If the file's name ends in anything else.
        OSError: If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"A picture is written as .png or .jpg, got '{path}'.")
    write_bytes(path, encode_picture(image, suffix))


def encode_picture(image: np.ndarray, suffix: str = ".png", options: tuple[int, ...] = ()) -> bytes:
    """Encode an RGB or RGBA picture (H, W, 3 or 4) uint8 as a file of a kind, such as ``.png``.

    ``options`` are OpenCV's, such as ``(cv2.IMWRITE_JPEG_QUALITY, 80)``.
    """
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(image, order), options)
    assert done, f"OpenCV could not encode a {suffix}"
    return encoded.tobytes()


def read_photo_size(path: str | Path) -> tuple[tuple[int, int], int]:
    """Read the header of a photo.

    Returns:
        Its size (H, W), turned as its EXIF orientation says, and that orientation (1 to 8).

    Raises:
        ValueError: If the file is missing or its header is broken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()) as image:
                width, height = image.size
                orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise ValueError(f"Photo '{path}' cannot be read ({error}): replace it.") from error
    return ((width, height) if orientation >= 5 else (height, width)), orientation


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W) pixels as an EXIF orientation says; they lie as the photo is stored."""
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def exif_orientation(data: bytes) -> int:
    """Return how a photo, given its file's content, is to be turned: 1 (not at all) to 8."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def decode_photo(
    data: bytes, name: str | Path, apply_exif: bool = True, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode ``data``, the content of a photo's file, to (H, W, 3) uint8 BGR.

    As :func:`read_photo`; ``name`` is what messages call it.
    """
    return decode_reduced(data, name, None, apply_exif, max_pixels)[0]


def decode_reduced(
    data: bytes,
    name: str | Path,
    fit: tuple[int, int] | None,
    apply_exif: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a photo that will be made smaller anyway; see :func:`read_photo`.

    A JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size that is no smaller than
    what fits into the box ``fit`` (width and height; None decodes all); other photos as they are.

    Returns:
        (h, w, 3) uint8 BGR, and the size (H, W) of the whole photo, turned likewise.

    Raises:
        ValueError: If it is no photo, truncated, broken or too large.
    """
    if not data:
        raise ValueError(f"Photo '{name}' is an empty file: replace it.")
    if is_jpeg(data):
        header = read_jpeg_header(data)
        if header is None or not header.complete:
            raise ValueError(
                f"Photo '{name}' is truncated: the file ends before the picture does; copy or "
                "download it again."
            )
        _check_size(header.width, header.height, name, max_pixels)
        if header.scans > MAX_SCANS:
            raise ValueError(
                f"Photo '{name}' is a JPEG of {header.scans:,} scans, more than the {MAX_SCANS} "
                "that are read, for each takes long: save it again."
            )
        if header.bits == 8 and header.channels in (1, 3):
            size = header.height, header.width
            ratio = 1.0 if fit is None else fit_ratio(size, fit)
            share = next((n for n in _REDUCED if ratio <= 1 / n), 1)
            flag = _REDUCED.get(share, cv2.IMREAD_COLOR)
            flag |= 0 if apply_exif else cv2.IMREAD_IGNORE_ORIENTATION
            with contextlib.suppress(cv2.error):  # Pillow has a try, and says what is wrong
                image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
                if image is not None:
                    stored = tuple(-(-side // share) for side in size)
                    turned = image.shape[:2] == stored[::-1] != stored
                    return image, size[::-1] if turned else size
    image = _decode_with_pillow(data, name, apply_exif, max_pixels)
    return image, image.shape[:2]


def fit_ratio(size: tuple[int, int], box: tuple[int, int]) -> float:
    """Factor that fits a picture into a box as mmcv does: long side to long, short to short.

    The two sides of each may come in any order.
    """
    return min(max(box) / max(size), min(box) / min(size))


def _check_size(width: int, height: int, name: str | Path, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(
            f"Photo '{name}' has {width} x {height} pixels, more than the {max_pixels:,} that are "
            "read: scale it down."
        )


@cache
def _formats() -> tuple[str, ...]:
    """Name the formats that this build of Pillow has."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode_with_pillow(
    data: bytes, name: str | Path, apply_exif: bool, max_pixels: int
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of size and EXIF; what matters is an error below
        with _open(data, name, max_pixels) as image:
            width, height = image.size
            _check_size(width, height, name, max_pixels)
            try:
                image.load()
                if apply_exif:
                    with contextlib.suppress(Exception):  # with broken EXIF a photo all the same
                        ImageOps.exif_transpose(image, in_place=True)
                return _to_bgr(image)
            except _KindError as error:
                raise ValueError(f"Photo '{name}' {error}") from error
            except Exception as error:  # decoders raise whatever a broken file leads them to
                raise ValueError(
                    f"Photo '{name}' is truncated or broken ({error}): replace it."
                ) from error


def _open(data: bytes, name: str | Path, max_pixels: int) -> Image.Image:
    """Read the header; the formats are few because others open programs or are no photos."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        raise ValueError(f"Photo '{name}' is a HEIC file, which is not read: convert it to JPEG.")
    try:
        return Image.open(io.BytesIO(data), formats=_formats())
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"Photo '{name}' has more than the {max_pixels:,} pixels that are read: scale it down."
        ) from error
    except Exception as error:
        raise ValueError(
            f"Photo '{name}' is no picture of a kind that is read ({', '.join(_formats())}), or "
            "its beginning is broken: convert or replace it."
        ) from error


class _KindError(Exception):
    """A whole picture of a kind that has no 8-bit colours."""


def _to_bgr(image: Image.Image) -> np.ndarray:
    """Turn any kind of pixels into (H, W, 3) uint8 BGR."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "I" and image.format not in ("PNG", "PPM"):
            raise _KindError("has 32-bit integers, of unknown range: convert it to 8 bit.")
        # The high byte: Pillow itself would cut off everything above 255.
        return cv2.cvtColor((values >> 8).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if image.mode == "F":
        raise _KindError(
            "has floating-point values, whose range nobody knows: convert it to 8 bit."
        )
    if {"A", "a"} & {*image.getbands()} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    if image.mode != "RGB":  # convert() would copy a photo that is RGB already
        image = image.convert("RGB")
    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)


class JpegHeader(NamedTuple):
    """Size and kind of the picture in a JPEG file."""

    height: int
    width: int
    bits: int  # per channel; 8 in all but exotic files
    channels: int  # 1 grey, 3 colour, 4 CMYK
    complete: bool  # whether the end of the picture is in the file
    scans: int  # at most so many; 1 where it is not progressive


def is_jpeg(data: bytes) -> bool:
    """Tell by its first bytes whether a file is a JPEG."""
    return data[:3] == _START + b"\xff"


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Walk over the segments of a JPEG up to the first scan.

    Returns:
        The header, or None if the file ends or makes no sense before the picture begins.
    """
    frame: tuple[int, int, int, int] | None = None
    progressive = False
    position = len(_START)
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2  # 0xFF is a fill byte
            continue
        if marker == _SCAN:
            # Before it, thumbnails have end markers of their own. Within a scan, 0xFF is followed
            # by 0 or a restart marker, so that the two bytes can only be the end. What cameras
            # append comes after it.
            complete = data.endswith(_END) or data.find(_END, position) >= 0
            scans = data.count(bytes((0xFF, _SCAN)), position) if progressive else 1
            return None if frame is None else JpegHeader(*frame, complete, scans)
        if marker in _FRAMES:
            if position + 10 > len(data):
                return None
            bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            frame = height, width, bits, channels
            progressive = marker in _PROGRESSIVE
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None

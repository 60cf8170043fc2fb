"""Read what stands before the picture in a JPEG file, and whether its end is there.

OpenCV up to version 4 turns a truncated JPEG into a picture that is grey from some row on, without
a word; looking for the end marker costs next to nothing beside decoding.
"""

from __future__ import annotations

from typing import NamedTuple

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_SCAN = 0xDA
# Start of frame; C4, C8 and CC in this range are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


class JpegHeader(NamedTuple):
    """Size and kind of the picture in a JPEG file."""

    height: int
    width: int
    bits: int  # per channel; 8 in all but exotic files
    channels: int  # 1 grey, 3 colour, 4 CMYK
    complete: bool  # whether the end of the picture is in the file


def is_jpeg(data: bytes) -> bool:
    """Tell by its first bytes whether a file is a JPEG."""
    return data[:3] == _START + b"\xff"


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Walk over the segments up to the first scan.

    Args:
        data: The file.

    Returns:
        The header, or None if the file ends or makes no sense before the picture begins.
    """
    frame: tuple[int, int, int, int] | None = None
    position = len(_START)
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker == _SCAN:
            return None if frame is None else JpegHeader(*frame, _has_end(data, position))
        if marker in _FRAMES:
            if position + 10 > len(data):
                return None
            bits, height, width = data[position + 4], *_two_numbers(data, position + 5)
            frame = height, width, bits, data[position + 9]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _two_numbers(data: bytes, position: int) -> tuple[int, int]:
    one, other = data[position : position + 2], data[position + 2 : position + 4]
    return int.from_bytes(one, "big"), int.from_bytes(other, "big")


def _has_end(data: bytes, scan: int) -> bool:
    """Look for the end marker after the start of the scan.

    Before it, thumbnails have end markers of their own. Within a scan, 0xFF is followed by 0 or a
    restart marker, so that the two bytes can only be the end. What cameras append comes after it.
    """
    return data.endswith(_END) or data.find(_END, scan) >= 0

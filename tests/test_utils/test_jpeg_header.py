import io

import numpy as np
import pytest
from PIL import Image

from afa.utils.jpeg_header import is_jpeg, read_jpeg_header


def jpeg(height=30, width=50, mode="RGB", **options):
    noise = np.random.randint(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_size_and_channels(mode, channels, progressive):
    header = read_jpeg_header(jpeg(mode=mode, progressive=progressive))
    assert header == (30, 50, 8, channels, True)


def test_what_cameras_append_comes_after_the_end():
    data = jpeg()
    assert read_jpeg_header(data + b"appended" * 100).complete


def test_a_thumbnail_has_an_end_of_its_own():
    exif = Image.Exif()
    exif[0x927C] = jpeg(8, 8)  # any segment that holds a whole JPEG
    data = jpeg(exif=exif)
    assert data.count(b"\xff\xd9") == 2
    assert read_jpeg_header(data).complete
    assert not read_jpeg_header(data[:-200]).complete


@pytest.mark.parametrize("progressive", [False, True])
def test_wherever_the_file_is_cut(progressive):
    data = jpeg(progressive=progressive)
    for length in range(3, len(data), 7):
        header = read_jpeg_header(data[:length])
        assert header is None or not header.complete
    assert read_jpeg_header(data).complete


def test_fill_bytes_and_segments_without_length():
    data = jpeg()
    assert read_jpeg_header(data[:2] + b"\xff\xff\xff\x01" + data[2:]) == (30, 50, 8, 3, True)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff" + b"\xff" * 50])
def test_nonsense_has_no_header(data):
    assert read_jpeg_header(data) is None


def test_first_bytes_tell():
    assert is_jpeg(jpeg()) and not is_jpeg(b"\x89PNG\r\n") and not is_jpeg(b"")

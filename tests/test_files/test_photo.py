"""Every kind of photo is made here, with values that are known."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from afa.files.photo import (
    MAX_PIXELS,
    decode_photo,
    is_jpeg,
    read_jpeg_header,
    read_photo,
    read_photo_size,
    turn_upright,
    write_picture,
)

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
BGR = RGB[..., ::-1]


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(height=64, width=48):
    """Return a picture that JPEG hardly changes."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([2 * y, 3 * x, 255 - y - x]).astype(np.uint8)


def with_orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("WEBP", dict(lossless=True)),
        ("TIFF", {}),
        ("TIFF", dict(compression="tiff_lzw")),
        ("TIFF", dict(compression="tiff_adobe_deflate")),
    ],
)
def test_kinds_without_loss(kind, options):
    image = decode_photo(encode(RGB, kind, **options), "x")
    np.testing.assert_array_equal(image, BGR)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("options", [{}, dict(progressive=True), dict(quality=30)])
def test_jpeg_is_what_opencv_decodes(options):
    data = encode(smooth(), "JPEG", **options)
    np.testing.assert_array_equal(
        decode_photo(data, "x"), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey(kind):
    grey = np.full((8, 8), 77, np.uint8)
    np.testing.assert_array_equal(
        decode_photo(encode(grey, kind), "x"), np.full((8, 8, 3), 77, np.uint8)
    )


def test_black_and_white():
    image = decode_photo(encode(Image.new("1", (3, 2), 1), "PNG"), "x")
    np.testing.assert_array_equal(image, np.full((2, 3, 3), 255))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(kind):
    indexed = Image.new("P", (3, 1))
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    indexed.putdata([2, 0, 1])
    image = decode_photo(encode(indexed, kind), "x")
    np.testing.assert_array_equal(image[0], [[90, 80, 70], [30, 20, 10], [60, 50, 40]])


def test_cmyk_jpeg():
    # No ink is white, full black is black, and cyan takes away red.
    for ink, color in [((0,) * 4, (255,) * 3), ((0, 0, 0, 255), (0,) * 3)]:
        image = decode_photo(encode(Image.new("CMYK", (16, 16), ink), "JPEG"), "x")
        np.testing.assert_array_equal(image[8, 8], color)
    image = decode_photo(encode(Image.new("CMYK", (16, 16), (200, 0, 0, 0)), "JPEG"), "x")
    np.testing.assert_allclose(image[8, 8].astype(int), [255, 255, 55], atol=2)


def test_alpha_is_seen_on_white():
    rgba = np.zeros((1, 4, 4), np.uint8)
    rgba[0, :, :3] = 100, 0, 200
    rgba[0, :, 3] = 255, 0, 51, 0
    rgba[0, 3, :3] = 0  # hidden black must not show
    image = decode_photo(encode(rgba, "PNG"), "x")
    fifth = [255 * 4 / 5 + value / 5 for value in (200, 0, 100)]
    np.testing.assert_allclose(
        image[0].astype(int), [[200, 0, 100], [255] * 3, fifth, [255] * 3], atol=1
    )
    grey = decode_photo(encode(Image.new("LA", (2, 2), (9, 0)), "PNG"), "x")
    np.testing.assert_array_equal(grey, np.full((2, 2, 3), 255))


def test_transparent_entry_of_a_palette():
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    indexed.putdata([0, 1])
    image = decode_photo(encode(indexed, "PNG", transparency=0), "x")
    np.testing.assert_array_equal(image[0], [[255, 255, 255], [60, 50, 40]])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit(suffix):
    levels = np.array([[0, 255, 256, 257 * 100, 65535]], np.uint16)
    for channels in (1, 3):
        pixels = levels if channels == 1 else np.dstack([levels] * 3)
        data = cv2.imencode(suffix, pixels)[1].tobytes()
        np.testing.assert_array_equal(decode_photo(data, "x")[0, :, 1], [0, 0, 1, 100, 255])


def test_16_bit_big_endian_and_16_bit_alpha():
    levels = np.array([[0, 256, 65535]], np.uint16)
    pgm = b"P5 3 1 65535\n" + levels.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode_photo(pgm, "x")[0, :, 0], [0, 1, 255])
    rgba = np.dstack([levels, levels, levels, np.array([[65535, 65535, 0]], np.uint16)])
    data = cv2.imencode(".png", rgba)[1].tobytes()
    np.testing.assert_array_equal(decode_photo(data, "x")[0, :, 0], [0, 1, 255])


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_range(mode):
    with pytest.raises(ValueError, match=r"'a\.tif' has .*convert it to 8 bit"):
        decode_photo(encode(Image.new(mode, (3, 3)), "TIFF"), "a.tif")


# What each orientation does to the stored picture, in numpy's words.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {})])
def test_exif_orientation(orientation, kind, options):
    data = encode(smooth(), kind, exif=with_orientation(orientation), **options)
    stored = decode_photo(data, "x", apply_exif=False)
    np.testing.assert_allclose(stored.astype(int), smooth()[..., ::-1], atol=20)
    turned = decode_photo(data, "x")
    np.testing.assert_array_equal(turned, TURNS[orientation](stored))


def test_broken_exif_is_no_reason_to_refuse():
    data = encode(RGB, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode_photo(data, "x"), BGR)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_one_pixel_sides(kind, size):
    image = decode_photo(encode(np.full((*size, 3), 128, np.uint8), kind), "x")
    assert image.shape == (*size, 3)
    np.testing.assert_allclose(image.astype(int), 128, atol=2)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), color) for color in ((9, 9, 9), (200, 0, 0))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode_photo(data, "x"), np.full((4, 4, 3), 9))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_ten_thousand_squared(kind):
    data = encode(Image.new("L", (10_000, 10_000), 90), kind)
    image = decode_photo(data, "x")
    assert image.shape == (10_000, 10_000, 3) and image[9_999, 9_999, 2] == 90


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_decompression_bomb(kind):
    side = int(MAX_PIXELS**0.5) + 1
    data = encode(Image.new("1", (side, side)), kind)
    with pytest.raises(ValueError, match=r"'bomb' has more than the 178,956,970 pixels.*scale it"):
        decode_photo(data, "bomb")


def test_a_jpeg_of_scans_without_end_is_refused_before_it_is_decoded():
    data = jpeg(progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert 5 < read_jpeg_header(data).scans < 20
    assert decode_photo(data[:-2] + 9 * last + data[-2:], "p").shape == (30, 50, 3)
    with pytest.raises(ValueError, match=r"'p' is a JPEG of 600,0\d\d scans, .*: save it again"):
        decode_photo(data[:-2] + 600_000 * last + data[-2:], "p")
    assert read_jpeg_header(jpeg() + 999 * last).scans == 1  # a baseline one has no such scans


def test_bomb_of_a_jpeg_and_a_limit_of_ones_own():
    data = bytearray(encode(smooth(), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    assert data[place : place + 4] == bytes([0, 64, 0, 48])
    data[place : place + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="has 65535 x 65535 pixels, more than the 178,956,970"):
        decode_photo(bytes(data), "x")
    for kind in ("JPEG", "PNG"):
        with pytest.raises(ValueError, match="has 48 x 64 pixels, more than the 3,071"):
            decode_photo(encode(smooth(), kind), "x", max_pixels=3071)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", dict(progressive=True)),
        ("PNG", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", dict(compression="tiff_lzw")),
        ("PPM", {}),
    ],
)
def test_truncated(kind, options, part, tmp_path):
    noise = np.random.randint(0, 256, (60, 80, 3), np.uint8)
    data = encode(noise, kind, **options)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=r"^Photo '.*cut\.img' is .*\.$") as caught:
        read_photo(path)
    assert "\n" not in str(caught.value)


def test_jpeg_without_its_last_two_bytes():
    with pytest.raises(ValueError, match="is truncated"):
        decode_photo(encode(smooth(), "JPEG")[:-2], "x")


def test_flipped_bytes_in_a_png():
    data = bytearray(encode(np.random.randint(0, 256, (60, 80, 3), np.uint8), "PNG"))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(ValueError, match="is truncated or broken"):
        decode_photo(bytes(data), "x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is an empty file"),
        (b"<html>no photo</html>", "is no picture of a kind that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture of a kind"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "is a HEIC file.*convert it to JPEG"),
        (b"\xff\xd8\xff", "is truncated"),
    ],
)
def test_no_photo(data, text):
    with pytest.raises(ValueError, match=f"^Photo 'x' {text}"):
        decode_photo(data, "x")


def test_file_with_a_name_in_any_script(tmp_path):
    path = tmp_path / "Ünter den Linden 写真.PNG"
    path.write_bytes(encode(RGB, "PNG"))
    np.testing.assert_array_equal(read_photo(str(path)), BGR)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"'.*gone\.jpg' cannot be read \(No such file"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="cannot be read"):
        read_photo(tmp_path)


def jpeg(height=30, width=50, mode="RGB", **options):
    noise = np.random.randint(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_size_and_channels(mode, channels, progressive):
    header = read_jpeg_header(jpeg(mode=mode, progressive=progressive))
    assert header[:5] == (30, 50, 8, channels, True)
    assert (header.scans > 1) == progressive


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
    assert read_jpeg_header(data[:2] + b"\xff\xff\xff\x01" + data[2:]) == (30, 50, 8, 3, True, 1)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff" + b"\xff" * 50])
def test_nonsense_has_no_header(data):
    assert read_jpeg_header(data) is None


def test_first_bytes_tell():
    assert is_jpeg(jpeg()) and not is_jpeg(b"\x89PNG\r\n") and not is_jpeg(b"")


def test_picture_is_written_in_rgb(tmp_path):
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 200
    write_picture(tmp_path / "a.png", image)
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(OSError):
        write_picture(tmp_path / "nowhere" / "a.png", image)
    with pytest.raises(ValueError, match=r"written as \.png or \.jpg, got 'a\.gif'"):
        write_picture("a.gif", image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_turn_of_the_header(tmp_path, orientation):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path, exif=exif)
    upright = read_photo(path)[..., 0]
    assert read_photo_size(path) == (upright.shape, orientation)
    np.testing.assert_array_equal(turn_upright(values, orientation), upright)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff"])
def test_size_of_what_is_no_photo(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    for path in (tmp_path / "a.jpg", tmp_path / "none.jpg"):
        with pytest.raises(ValueError, match=r"Photo '.*\.jpg' cannot be read"):
            read_photo_size(path)

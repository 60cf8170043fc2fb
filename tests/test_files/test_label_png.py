import warnings

import cv2
import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import Image

from afa.files.label_png import (
    bit_palette,
    distinct_palette,
    is_whole_label_png,
    read_label_png,
    write_label_png,
)

LABEL = np.array([[0, 1, 20], [255, 2, 0]], np.uint8)


def test_bit_palette_is_the_colour_map_of_voc():
    assert bit_palette(21) == PascalVOCDataset.METAINFO["palette"]
    assert bit_palette(256)[255] == [224, 224, 192]


def _ciede2000(one, other):
    """Colour distance of Lab values (..., 3), after Sharma, Wu and Dalal 2005."""
    l_mean = (one[..., 0] + other[..., 0]) / 2
    chromas = [np.hypot(lab[..., 1], lab[..., 2]) for lab in (one, other)]
    seventh = ((chromas[0] + chromas[1]) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    ab = [(lab[..., 1] * stretch, lab[..., 2]) for lab in (one, other)]
    c1, c2 = (np.hypot(*pair) for pair in ab)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ab)
    turn = np.where(c1 * c2 == 0, 0, (h2 - h1 + 180) % 360 - 180)
    grey = np.where(c1 * c2 == 0, h1 + h2, 0)
    hue = np.where(c1 * c2 == 0, grey, (h1 + ((h2 - h1 + 180) % 360 - 180) / 2) % 360)
    c_mean, d_hue = (c1 + c2) / 2, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(f * np.cos(np.radians(n * hue + shift)) for f, n, shift in cosines)
    light = (other[..., 0] - one[..., 0]) / (
        1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    )
    chroma, d_hue = (c2 - c1) / (1 + 0.045 * c_mean), d_hue / (1 + 0.015 * c_mean * t)
    rotation = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    rotation *= -2 * np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7))
    return np.sqrt(light**2 + chroma**2 + d_hue**2 + rotation * chroma * d_hue)


def _smallest_distance(colors):
    """Smallest distance of two of some colours (n, 3), RGB 0..255."""
    rgb = np.asarray(colors, np.float32)[None] / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0].astype(float)
    first, second = np.triu_indices(len(lab), 1)
    return _ciede2000(lab[first], lab[second]).min()


@pytest.mark.parametrize(
    ("one", "other", "distance"),  # of the paper's test data
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_of_these_tests_is_that_of_the_paper(one, other, distance):
    assert _ciede2000(np.array(one), np.array(other)) == pytest.approx(distance, abs=1e-3)


@pytest.mark.parametrize(
    ("num_classes", "whole", "mixed"),
    [(2, 30, 15), (5, 30, 15), (11, 27, 13), (21, 20, 10), (41, 13, 6.5), (60, 11, 5.5)],
)
def test_colours_can_be_told_apart_also_on_photos(num_classes, whole, mixed):
    """A difference of 2.3 can just be seen; VOC's first 60 have 2.2, and 1.1 where mixed."""
    colors = np.array(distinct_palette(num_classes), float)
    assert colors[0].tolist() == [0, 0, 0]
    assert _smallest_distance(colors) > whole
    taken = [[255, 255, 255], [224, 224, 192]]  # borders, undecided pixels
    assert _smallest_distance([*colors, *taken]) > min(whole, 10)
    for photo in (0, 85, 170, 255):
        for opacity in (0.5, 0.6):
            assert _smallest_distance(opacity * colors + (1 - opacity) * photo) > mixed


def test_more_classes_add_colours_and_change_none():
    colors = distinct_palette(256)
    assert len({tuple(color) for color in colors}) == 256
    assert all(distinct_palette(number) == colors[:number] for number in (1, 3, 81, 82))


def test_every_value_is_read_as_it_was_written(tmp_path):
    label = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_label_png(tmp_path / "a.png", label)
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png"), label)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("label", [LABEL, LABEL.T, LABEL[:, ::2], LABEL[:1, :1]])
def test_any_memory_layout_and_a_single_pixel(tmp_path, label):
    write_label_png(tmp_path / "a.png", label)
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png"), label)


def test_file_is_indexed_in_the_colours_of_voc(tmp_path):
    write_label_png(tmp_path / "a.png", LABEL)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
    colors = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    assert colors[0, 1].tolist() == [128, 0, 0] and colors[1, 0].tolist() == [224, 224, 192]


def test_own_colours_come_first(tmp_path):
    write_label_png(tmp_path / "a.png", LABEL, [(1, 2, 3), (4, 5, 6)])
    colors = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    assert colors[0, 0].tolist() == [1, 2, 3] and colors[0, 1].tolist() == [4, 5, 6]
    assert colors[1, 1].tolist() == [0, 128, 0]
    with pytest.raises(ValueError, match="at most 256 colours, got 257"):
        write_label_png(tmp_path / "b.png", LABEL, [(0, 0, 0)] * 257)


@pytest.mark.parametrize("label", [LABEL.astype(int), LABEL[0], LABEL[..., None], LABEL[:0]])
def test_only_label_maps_are_written(tmp_path, label):
    with pytest.raises(ValueError, match=r"must be \(H, W\) uint8, got"):
        write_label_png(tmp_path / "a.png", label)
    assert not list(tmp_path.iterdir())


def test_grey_png_and_small_palettes_are_read(tmp_path):
    Image.fromarray(LABEL).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_label_png(tmp_path / "grey.png"), LABEL)
    small = Image.fromarray(LABEL % 4)
    small.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 7, 7, 7])
    small.save(tmp_path / "small.png", bits=2)
    np.testing.assert_array_equal(read_label_png(tmp_path / "small.png"), LABEL % 4)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "8-bit RGB:"),
        ("RGBA", "8-bit RGB with alpha"),
        ("LA", "8-bit grey with alpha"),
        ("1", "1-bit grey"),
        ("I;16", "16-bit grey"),
    ],
)
def test_colours_in_place_of_labels_are_refused(tmp_path, mode, kind):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png' must be an indexed or 8-bit grey.*got {kind}"):
        read_label_png(tmp_path / "a.png")


def test_what_is_no_png_is_refused(tmp_path):
    write_label_png(tmp_path / "a.png", np.tile(LABEL, (40, 40)))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) - 60])
    with pytest.raises(ValueError, match="is broken"):
        read_label_png(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"\xff\xd8 a photo")
    with pytest.raises(ValueError, match="is no PNG file"):
        read_label_png(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"b\.png' cannot be read \(No such file"):
        read_label_png(tmp_path / "b.png")


def test_large_masks_are_read_without_a_warning(tmp_path):
    write_label_png(tmp_path / "a.png", np.zeros((9500, 9500), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_label_png(tmp_path / "a.png").shape == (9500, 9500)


def test_whole_means_there_of_this_size_and_not_cut_off(tmp_path):
    path = tmp_path / "a.png"
    assert not is_whole_label_png(path, 2, 3)
    write_label_png(path, LABEL)
    assert is_whole_label_png(path, 2, 3) and not is_whole_label_png(path, 3, 2)
    assert is_whole_label_png(path)
    data = path.read_bytes()
    for part in (data[:-1], data[:-12], data[:40], data[:10], b"", b"x" * 100):
        path.write_bytes(part)
        assert not is_whole_label_png(path, 2, 3) and not is_whole_label_png(path)
    Image.new("RGB", (3, 2)).save(path)
    assert not is_whole_label_png(path, 2, 3)

import io
import os

import numpy as np
import pytest
from PIL import Image

from afa.files.label_png import write_label_png
from afa.files.photo_check import check_photo


def save(path, height=30, width=40, orientation=1, kind="JPEG", **options):
    noise = np.random.randint(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, exif=exif, **options)
    path.write_bytes(buffer.getvalue())
    return str(path)


def mask(path, height=30, width=40, values=(0, 1, 2, 255)):
    label = np.resize(np.array(values, np.uint8), (height, width))
    write_label_png(path, label)
    return str(path)


def test_nothing_wrong(tmp_path):
    photo = save(tmp_path / "a.jpg")
    assert check_photo(photo, None, 3) == ([], [], (30, 40), None)
    assert check_photo(photo, mask(tmp_path / "a.png"), 3) == ([], [], (30, 40), {0, 1, 2, 255})


@pytest.mark.parametrize("data", [None, b"", b"no photo", b"\xff\xd8\xff\xe0\x00\x10"])
def test_unreadable_photo(tmp_path, data):
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    ((kind, sentence),), notes, size, _ = check_photo(str(path), None, 3)
    assert kind == "unreadable photo" and "a.jpg" in sentence
    assert notes == [] and size is None


@pytest.mark.parametrize("progressive", [False, True])
def test_hole_in_a_jpeg_that_has_its_end(tmp_path, progressive, capfd):
    path = tmp_path / "a.jpg"
    save(path, 200, 200, progressive=progressive)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    ((kind, sentence),), _, size, _ = check_photo(str(path), None, 3)
    assert kind == "damaged photo" and "a.jpg' has a hole" in sentence and size == (200, 200)
    os.write(2, b"still there")  # stderr is what it was
    assert capfd.readouterr().err == "still there"


def test_bytes_too_many_do_no_harm(tmp_path):
    path = tmp_path / "a.jpg"
    save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b"\x00\x00\x00" + data[-2:] + b"appended")
    assert check_photo(str(path), None, 3).faults == []


def test_masks_with_faults(tmp_path):
    photo = save(tmp_path / "a.jpg")
    wrong = mask(tmp_path / "a.png", 20, 40, values=(0, 3, 7, 254, 255))
    faults, _, _, values = check_photo(photo, wrong, 3)
    assert values is None  # it must not be compared with labels
    assert [kind for kind, _ in faults] == ["mask size", "mask value"]
    assert "a.png' is 40 x 20 pixels, its photo 40 x 30: make both" in faults[0][1]
    assert "the values 3, 7, 254: labels are 0 to 2, and 255" in faults[1][1]
    many = mask(tmp_path / "b.png", values=range(10))
    assert "values 3, 4, 5, 6, 7, ...:" in check_photo(photo, many, 3).faults[0][1]
    (tmp_path / "c.png").write_bytes(b"x")
    assert check_photo(photo, str(tmp_path / "c.png"), 3).faults[0][0] == "unreadable mask"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_turned_photo_wants_a_turned_mask(tmp_path, kind):
    photo = save(tmp_path / "a.img", orientation=6, kind=kind)
    stored, upright = mask(tmp_path / "s.png"), mask(tmp_path / "u.png", 40, 30)
    faults, notes, size, _ = check_photo(photo, upright, 3)
    assert faults == [] and size == (40, 30)
    assert notes[0][0] == "turned photo with a mask" and "loaded upright" in notes[0][1]
    ((name, sentence),), *_ = check_photo(photo, stored, 3)
    assert name == "mask size" and "turn it as the photo is turned" in sentence
    faults, notes, size, _ = check_photo(photo, stored, 3, apply_exif=False)
    assert faults == [] and size == (30, 40) and "as stored" in notes[0][1]
    assert check_photo(photo, upright, 3, apply_exif=False).faults[0][0] == "mask size"
    assert check_photo(photo, None, 3).notes == []

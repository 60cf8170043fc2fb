import json

import numpy as np
import pytest

from afa.apis.map_folder import MapFolder
from afa.utils.maps_npz import write_maps


@pytest.fixture
def folder(tmp_path):
    """Maps of one photo of 6 x 8 pixels, as tools/pseudo_labels.py leaves them."""
    (tmp_path / "maps").mkdir()
    maps = np.stack([np.full((3, 4), 0.2), np.full((3, 4), 1.0)])
    write_maps(tmp_path / "maps" / "a.npz", [2, 3], maps, (6, 8))
    (tmp_path / "settings.json").write_text(json.dumps(dict(kind="cam")))
    return tmp_path


def test_either_folder_will_do(folder):
    for path in (folder, folder / "maps"):
        maps = MapFolder(path)
        found = maps.read("a", (6, 8), 4)
        assert found.classes == [2, 3] and maps.settings == dict(kind="cam")
        assert np.allclose(found.maps[:, 0, 0], [51 / 255, 1])


def test_maps_after_the_walk_begin_with_the_background(folder):
    with pytest.raises(ValueError, match=r"have not walked: tools/random_walk\.py --save-maps"):
        MapFolder(folder, walked=True).read("a", (6, 8), 4)
    maps = np.random.rand(2, 3, 4).astype(np.float32)
    write_maps(folder / "maps" / "a.npz", [0, 2], maps, (6, 8), exact=True)
    found = MapFolder(folder, walked=True).read("a", (6, 8), 4)
    assert found.classes == [0, 2] and np.array_equal(found.maps, maps)
    with pytest.raises(ValueError, match=r"which comes from CAMs here: tools/pseudo_labels.py"):
        MapFolder(folder).read("a", (6, 8), 4)


def test_unknown_origin_and_no_folder(folder):
    (folder / "settings.json").write_text("[1]")
    assert MapFolder(folder).settings == {}
    (folder / "settings.json").unlink()
    assert MapFolder(folder).settings == {}
    with pytest.raises(ValueError, match=r"no folder of maps .*--save-maps"):
        MapFolder(folder / "none")


def test_maps_of_other_photos_and_classes_are_refused(folder):
    maps = MapFolder(folder)
    with pytest.raises(ValueError, match=r"no maps of the image 'b'.*--save-maps"):
        maps.read("b", (6, 8), 4)
    with pytest.raises(ValueError, match=r"\(6, 8\) pixels .* 'a' has \(8, 6\)"):
        maps.read("a", (8, 6), 4)
    with pytest.raises(ValueError, match=r"map of class 3, but the data set has 2 classes"):
        maps.read("a", (6, 8), 3)
    with pytest.raises(ValueError, match=r"no name inside a folder"):
        maps.read("../a", (6, 8), 4)


def test_maps_with_a_background_and_broken_ones_are_refused(folder):
    write_maps(folder / "maps" / "b.npz", [0, 1], np.zeros((2, 3, 4)), (6, 8))
    with pytest.raises(ValueError, match=r"map of the background.*--kind cam"):
        MapFolder(folder).read("b", (6, 8), 4)
    (folder / "maps" / "a.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="broken"):
        MapFolder(folder).read("a", (6, 8), 4)


def test_a_photo_may_have_no_class(folder):
    write_maps(folder / "maps" / "c.npz", [], np.zeros((0, 3, 4)), (6, 8))
    assert MapFolder(folder).read("c", (6, 8), 4).maps.shape == (0, 3, 4)

import numpy as np
import pytest

from afa.apis.feature_folder import FeatureFolder

IDS = ["a", "b/c", "d", "e", "f"]
SETTINGS = dict(tool="t", checkpoint="x")


def _filled(path):
    folder = FeatureFolder(path, IDS, per_file=2)
    for part in folder.prepare(SETTINGS):
        folder.write(part, np.full((len(folder.parts[part]), 3), part, dtype=np.float32))
    return folder


def test_features_come_back_in_the_order_of_the_images(tmp_path):
    folder = _filled(tmp_path)
    assert folder.read()[:, 0].tolist() == [0, 0, 1, 1, 2]
    assert folder.prepare(SETTINGS) == []
    with np.load(tmp_path / "features/00000.npz", allow_pickle=False) as file:
        assert file["ids"].tolist() == ["a", "b/c"] and file["features"].dtype == np.float32


def test_what_is_missing_broken_or_of_other_images_is_made_again(tmp_path):
    folder = _filled(tmp_path)
    (tmp_path / "features/00001.npz").write_bytes(b"PK\3\4")
    (tmp_path / "features/00002.npz").unlink()
    assert folder.prepare(SETTINGS) == [1, 2]
    with pytest.raises(ValueError, match="have gone or are broken"):
        folder.read()
    assert FeatureFolder(tmp_path, ["a", "x"], per_file=2).prepare(SETTINGS) == [0]


def test_other_settings_and_other_files_are_refused(tmp_path):
    _filled(tmp_path / "one")
    with pytest.raises(ValueError, match=r"another checkpoint or config.*--overwrite"):
        FeatureFolder(tmp_path / "one", IDS, 2).prepare(dict(SETTINGS, checkpoint="y"))
    assert FeatureFolder(tmp_path / "one", IDS, 2).prepare(
        dict(SETTINGS, checkpoint="y"), overwrite=True
    ) == [0, 1, 2]
    (tmp_path / "two/features").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no settings\.json of this tool"):
        FeatureFolder(tmp_path / "two", IDS).prepare(SETTINGS, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        FeatureFolder(tmp_path / "file", IDS).prepare(SETTINGS)

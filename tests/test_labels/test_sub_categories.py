import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from toy_stages import AFFINITY_NET, CLASSIFIER, IDS, files_of, write_pictures, write_stage

from afa.apis.inference import init_model
from afa.datasets.image_labels import load_sub_labels
from afa.datasets.shapes_generator import CLASSES
from afa.engine.config import load_config
from afa.labels import sub_categories as module
from afa.labels.options import SubCategoryOptions
from afa.labels.split import SplitData
from afa.labels.sub_categories import FeatureFolder, make_sub_categories
from afa.models.functional.sub_categories import cluster_sub_categories


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and checkpoint of a classifier."""
    folder = tmp_path_factory.mktemp("toy")
    return write_stage(folder, write_pictures(folder / "shapes", num_val=4), CLASSIFIER)


def _make(toy, out, cfg_options=None, **options):
    wanted = dict(split="val", num_sub=2, out=str(out), device="cpu")
    cfg = load_config(str(toy[0]), options=dict(cfg_options or {}))
    return make_sub_categories(cfg, toy[1], SubCategoryOptions(**{**wanted, **options}))


def test_sub_categories_are_those_of_the_pooled_features(toy, tmp_path):
    summary = _make(toy, tmp_path)
    model = init_model(toy[0], toy[1], "cpu")
    data = SplitData(model.cfg, "val")
    features = []
    for i in range(4):
        inputs = model.data_preprocessor(pseudo_collate([data.dataset[i]]), False)["inputs"]
        with torch.no_grad():
            features.append(model.backbone(inputs)[2][0].mean(dim=(1, 2)).numpy())  # 'avg'
    labels = np.stack([data.image_label(i) for i in range(4)])
    wanted = cluster_sub_categories(np.stack(features), labels, 2, 0)
    names = {
        img_id: [CLASSES[1:][k] for k in np.flatnonzero(label)]
        for img_id, label in zip(IDS, labels, strict=True)
    }
    found = load_sub_labels(tmp_path / "sub_labels.json", names, num_sub=2)
    for i, img_id in enumerate(IDS):
        assert found[img_id] == {name: wanted[i, CLASSES.index(name) - 1] for name in names[img_id]}
    counted = summary["images_of_sub_category"]
    assert sum(int(counts.sum()) for counts in counted.values()) == labels.sum()


def test_a_second_run_computes_what_is_missing(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "FeatureFolder", lambda *args: _Pairs(*args))
    _make(toy, tmp_path)
    before = files_of(tmp_path)
    (tmp_path / "features/00001.npz").unlink()
    capsys.readouterr()
    _make(toy, tmp_path)
    assert "2 are finished, 2 to compute" in capsys.readouterr().out
    assert files_of(tmp_path) == before


class _Pairs(module.FeatureFolder):
    def __init__(self, path, img_ids):
        super().__init__(path, img_ids, per_file=2)


def test_seed_and_number_change_the_clusters_not_the_features(toy, tmp_path):
    _make(toy, tmp_path)
    before = files_of(tmp_path)
    summary = _make(toy, tmp_path, num_sub=1, seed=3)
    assert (summary["num_sub"], summary["seed"]) == (1, 3)
    after = files_of(tmp_path)
    assert after["features/00000.npz"] == before["features/00000.npz"]
    subs = json.loads(after["sub_labels.json"])
    assert {sub for one in subs.values() for sub in one.values()} == {0}


def test_faults_are_said(toy, tmp_path):
    with pytest.raises(ValueError, match="--num-sub must be 1 or more"):
        SubCategoryOptions("val", num_sub=0)
    with pytest.raises(ValueError, match="--seed must be between"):
        SubCategoryOptions("val", seed=-1)
    root = load_config(str(toy[0])).val_dataloader.dataset.data_root
    (tmp_path / "other").mkdir()
    other = write_stage(tmp_path / "other", root, AFFINITY_NET)
    with pytest.raises(ValueError, match=r"need a classifier .* this model is AffinityNet"):
        _make(other, tmp_path / "out")
    with pytest.raises(ValueError, match="needs image_labels"):
        _make(toy, tmp_path / "out", {"val_dataloader.dataset.image_labels": None})
    assert not (tmp_path / "out").exists()


# ---- features -----------------------------------------------------------------------------------


IMAGES = ["a", "b/c", "d", "e", "f"]
FEATURES = dict(tool="t", checkpoint="x")


def _filled(path):
    folder = FeatureFolder(path, IMAGES, per_file=2)
    folder.prepare(FEATURES)
    for part in folder.missing():
        folder.write(part, np.full((len(folder.parts[part]), 3), part, dtype=np.float32))
    return folder


def test_features_come_back_in_the_order_of_the_images(tmp_path):
    folder = _filled(tmp_path)
    assert folder.read()[:, 0].tolist() == [0, 0, 1, 1, 2]
    folder.prepare(FEATURES)
    assert folder.missing() == []
    with np.load(tmp_path / "features/00000.npz", allow_pickle=False) as file:
        assert file["ids"].tolist() == ["a", "b/c"] and file["features"].dtype == np.float32


def test_what_is_missing_broken_or_of_other_images_is_made_again(tmp_path):
    folder = _filled(tmp_path)
    (tmp_path / "features/00001.npz").write_bytes(b"PK\3\4")
    (tmp_path / "features/00002.npz").unlink()
    folder.prepare(FEATURES)
    assert folder.missing() == [1, 2]
    with pytest.raises(ValueError, match="have gone or are broken"):
        folder.read()
    assert FeatureFolder(tmp_path, ["a", "x"], per_file=2).missing() == [0]


def test_features_of_other_settings_and_other_files_are_refused(tmp_path):
    _filled(tmp_path / "one")
    with pytest.raises(ValueError, match=r"another checkpoint or config.*--overwrite"):
        FeatureFolder(tmp_path / "one", IMAGES, 2).prepare(dict(FEATURES, checkpoint="y"))
    folder = FeatureFolder(tmp_path / "one", IMAGES, 2)
    folder.prepare(dict(FEATURES, checkpoint="y"), overwrite=True)
    assert folder.missing() == [0, 1, 2]
    (tmp_path / "two/features").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no settings\.json of this tool"):
        FeatureFolder(tmp_path / "two", IMAGES).prepare(FEATURES, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        FeatureFolder(tmp_path / "file", IMAGES).prepare(FEATURES)

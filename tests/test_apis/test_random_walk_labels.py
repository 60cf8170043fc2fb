import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from toy_stages import (
    AFFINITY_NET,
    CLASSIFIER,
    IDS,
    files_of,
    write_cams,
    write_pictures,
    write_stage,
)

from afa.apis.inference import init_model
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.random_walk_labels import KIND, make_random_walk_labels
from afa.apis.split_data import SplitData
from afa.engine.config import load_config
from afa.utils.label_png import read_label_png
from afa.utils.maps_npz import read_maps
from plain_random_walk import plain_random_walk


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and checkpoint of an AffinityNet, and a folder of CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return *write_stage(folder, root, AFFINITY_NET), write_cams(folder / "cams", root)


def _make(toy, out, cfg_options=None, walked=None, **options):
    wanted = dict(split="val", kind=KIND, out=str(out), alphas=(4.0,), device="cpu")
    cfg = load_config(str(toy[0]), options=dict(cfg_options or {}))
    options = MapStageOptions(**{**wanted, **options})
    return make_random_walk_labels(cfg, *toy[1:], options, walked)


def _plain_scores(model, data, i, cams, alpha):
    """Cell means, T^t as a full matrix, and back to the photo: (1 + M, H, W)."""
    packed = model.data_preprocessor(pseudo_collate([data.packed(i)]), False)
    with torch.no_grad():
        affinity = model.affinity(packed["inputs"])
    maps = torch.from_numpy(cams.maps)
    maps = torch.cat([(1 - maps.max(dim=0, keepdim=True).values) ** alpha, maps])
    grid = F.adaptive_avg_pool2d(maps[None], affinity.shape[2:])
    walked = plain_random_walk(grid, affinity, model.affinity_head.offsets, 8.0, 16)
    return F.interpolate(walked, size=cams.size, mode="bilinear")[0].numpy()


def test_labels_are_those_of_the_full_matrix(toy, tmp_path):
    _make(toy, tmp_path, alphas=(24.0,))
    model = init_model(toy[0], toy[1], "cpu")
    data = SplitData(model.cfg, "val")
    moved = 0
    for i, img_id in enumerate(IDS):
        cams = read_maps(toy[2] / "maps" / f"{img_id}.npz")
        best = _plain_scores(model, data, i, cams, 24.0).argmax(axis=0)
        plain = np.array([0, *cams.classes])[best]
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        assert label.shape == data.photo(i).shape[:2]
        assert (label == plain).mean() > 0.999
        moved += (label > 0).sum()
    assert moved > 0


def test_sweep_gives_the_figures_of_single_runs(toy, tmp_path):
    swept = _make(toy, tmp_path / "swept", sweep=(1.0, 4.0, 16.0))
    assert swept["sweep"]["score"] == "alpha"
    rows = {row["bkg_thr"]: row["mIoU"] for row in swept["sweep"]["rows"]}
    assert set(rows) == {1, 4, 16} and rows[4] == swept["figures"]["mIoU"]
    single = _make(toy, tmp_path / "single", alphas=(16.0,), evaluate=True)
    assert rows[16] == single["figures"]["mIoU"] != rows[1]


def test_crf_and_no_steps(toy, tmp_path):
    plain = _make(toy, tmp_path / "plain", {"model.num_steps": 0}, evaluate=True)
    crf = _make(
        toy,
        tmp_path / "crf",
        {"model.num_steps": 0},
        evaluate=True,
        crf=True,
        crf_workers=0,
        crf_settings=dict(bi_xy_std=10, num_iters=3),
    )
    assert plain["figures"]["mIoU"] > 50  # the maps are blurred masks
    assert crf["figures"]["mIoU"] != plain["figures"]["mIoU"]
    assert crf["settings"]["crf"]["bi_xy_std"] == 10


def test_the_crf_on_walked_maps_runs_no_network(toy, tmp_path, monkeypatch):
    crf = dict(crf=True, crf_workers=0, alphas=(24.0,), evaluate=True)
    crf["crf_settings"] = dict(num_iters=3, bi_xy_std=10)
    direct = _make(toy, tmp_path / "direct", **crf)
    _make(toy, tmp_path / "walk", alphas=(24.0,), save_maps=True)
    assert len(list((tmp_path / "walk/maps").iterdir())) == 4
    monkeypatch.setattr("afa.models.segmentors.AffinityNet.affinity", None)
    walked = _make(toy, tmp_path / "walked", walked=tmp_path / "walk", **crf)
    assert files_of(tmp_path / "walked") == files_of(tmp_path / "direct")
    assert walked["settings"] == direct["settings"]
    assert walked["figures"]["mIoU"] == direct["figures"]["mIoU"]
    plain = _make(toy, tmp_path / "plain", alphas=(24.0,), walked=tmp_path / "walk")
    assert plain["num_made"] == 4
    before = files_of(tmp_path / "walk")
    assert {f"labels/{i}.png": before[f"labels/{i}.png"] for i in IDS} == files_of(
        tmp_path / "plain"
    )


def test_walked_maps_of_something_else_are_refused(toy, tmp_path):
    walk = tmp_path / "walk"
    _make(toy, walk, save_maps=True)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"other settings \(alphas was \[4.0\], now \[8.0\]"):
        _make(toy, out, walked=walk, alphas=(8.0,))
    with pytest.raises(ValueError, match=r"other settings \(model was"):
        _make(toy, out, {"model.beta": 2.0}, walked=walk)
    with pytest.raises(ValueError, match="maps of one alpha: give --sweep"):
        _make(toy, out, walked=walk, sweep=(2.0,))
    with pytest.raises(ValueError, match=r"other settings \(tool was"):
        _make(toy, out, walked=toy[2])  # CAMs
    with pytest.raises(ValueError, match="--out and --walked are the same folder"):
        _make(toy, walk, walked=walk, overwrite=True)
    assert not out.exists() and len(list((walk / "maps").iterdir())) == 4
    (walk / "maps" / f"{IDS[1]}.npz").write_bytes((toy[2] / f"maps/{IDS[1]}.npz").read_bytes())
    with pytest.raises(ValueError, match="so that its maps have not walked"):
        _make(toy, out, walked=walk)
    (walk / "maps" / f"{IDS[1]}.npz").unlink()
    with pytest.raises(ValueError, match=rf"no maps of the image '{IDS[1]}'.*random_walk.py"):
        _make(toy, out, walked=walk)


def test_other_networks_and_padding_are_refused(toy, tmp_path):
    (tmp_path / "other").mkdir()
    root = load_config(str(toy[0])).val_dataloader.dataset.data_root
    other = write_stage(tmp_path / "other", root, CLASSIFIER)
    with pytest.raises(ValueError, match="needs AffinityNet, but this model is CAMClassifier"):
        _make((*other, toy[2]), tmp_path / "out")
    padded = {"model.data_preprocessor.test_cfg.size_divisor": 64}
    with pytest.raises(ValueError, match="photos without padding"):
        _make(toy, tmp_path / "out", padded)

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from toy_stages import AFFINITY_NET, CLASSIFIER, IDS, write_cams, write_pictures, write_stage

from afa.apis.inference import init_model
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.random_walk_labels import KIND, make_random_walk_labels
from afa.apis.split_data import SplitData
from afa.engine.config import load_config
from afa.testing.random_walk_cost import plain_random_walk
from afa.utils.label_png import read_label_png
from afa.utils.maps_npz import read_maps


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and checkpoint of an AffinityNet, and a folder of CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return *write_stage(folder, root, AFFINITY_NET), write_cams(folder / "cams", root)


def _make(toy, out, cfg_options=None, **options):
    wanted = dict(split="val", kind=KIND, out=str(out), alphas=(4.0,), device="cpu")
    cfg = load_config(str(toy[0]), options=dict(cfg_options or {}))
    return make_random_walk_labels(cfg, *toy[1:], MapStageOptions(**{**wanted, **options}))


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


def test_other_networks_and_padding_are_refused(toy, tmp_path):
    (tmp_path / "other").mkdir()
    root = load_config(str(toy[0])).val_dataloader.dataset.data_root
    other = write_stage(tmp_path / "other", root, CLASSIFIER)
    with pytest.raises(ValueError, match="needs AffinityNet, but this model is CAMClassifier"):
        _make((*other, toy[2]), tmp_path / "out")
    padded = {"model.data_preprocessor.test_cfg.size_divisor": 64}
    with pytest.raises(ValueError, match="photos without padding"):
        _make(toy, tmp_path / "out", padded)

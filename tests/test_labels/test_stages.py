"""What the stages make; the folder, the figures and the processes are the same for all."""

import json
import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
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
from afa.engine.config import load_config
from afa.files.crf import CRFSettings, dense_crf
from afa.files.label_png import read_label_png
from afa.files.maps import read_maps, write_maps
from afa.files.photo import read_photo
from afa.labels.options import MapLabelOptions, PseudoLabelOptions, SubCategoryOptions
from afa.labels.split import SplitData
from afa.labels.stages import (
    AFFINITY_LABELS,
    RANDOM_WALK,
    background_scores,
    make_affinity_labels,
    make_random_walk_labels,
)
from afa.labels.sub_categories import make_sub_categories
from plain_random_walk import plain_random_walk


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Folder with data, two networks and CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    write_cams(folder / "cams", root)
    for name, model in (("affinity", AFFINITY_NET), ("classifier", CLASSIFIER)):
        (folder / name).mkdir()
        write_stage(folder / name, root, model)
    return folder


def _labels(toy, out, cfg_options=None, maps=None, **options):
    wanted = dict(split="val", kind=AFFINITY_LABELS, out=str(out), alphas=(2.0, 6.0))
    cfg = load_config(str(toy / "affinity/toy.py"), options=dict(cfg_options or {}))
    return make_affinity_labels(cfg, maps or toy / "cams", MapLabelOptions(**{**wanted, **options}))


def _walk(toy, out, cfg_options=None, walked=None, network="affinity", **options):
    wanted = dict(split="val", kind=RANDOM_WALK, out=str(out), alphas=(4.0,), device="cpu")
    cfg = load_config(str(toy / network / "toy.py"), options=dict(cfg_options or {}))
    options = MapLabelOptions(**{**wanted, **options})
    return make_random_walk_labels(cfg, toy / network / "toy.pth", toy / "cams", options, walked)


def _cluster(toy, out, **options):
    cfg, checkpoint = load_config(str(toy / "classifier/toy.py")), toy / "classifier/toy.pth"
    wanted = dict(split="val", num_sub=2, out=str(out), device="cpu")
    return make_sub_categories(cfg, checkpoint, SubCategoryOptions(**{**wanted, **options}))


# ---- from a network -----------------------------------------------------------------------------


MODEL = SimpleNamespace(
    test_cfg=SimpleNamespace(bkg_thr=0.45),
    train_cfg=SimpleNamespace(bkg_thr_high=0.55, bkg_thr_low=0.35),
)


def _score_of(model=MODEL, **options):
    return background_scores(
        PseudoLabelOptions(**{"split": "val", "kind": "par", **options}), model
    )


def test_background_scores():
    assert _score_of() == (0.45,)
    assert _score_of(bkg_thr=0.0) == (0.0,)
    assert _score_of(ignore_thr=()) == (0.55, 0.35)
    assert _score_of(ignore_thr=(0.6, 0.2)) == (0.6, 0.2)
    assert _score_of(kind="seg") == ()


def test_a_model_without_two_scores_of_its_own_needs_them_given():
    model = SimpleNamespace(test_cfg=SimpleNamespace(bkg_thr=0.28))
    with pytest.raises(ValueError, match=r"SimpleNamespace has no train_cfg\.bkg_thr_high"):
        _score_of(model, ignore_thr=())
    assert _score_of(model, ignore_thr=(0.5, 0.1)) == (0.5, 0.1)


# ---- from CAMs ----------------------------------------------------------------------------------


def _merged(scores_low, scores_high, classes):
    """Merge pixel by pixel; scores (1 + M, H, W) with the background first."""
    height, width = scores_low.shape[1:]
    label = np.zeros((height, width), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            low, high = scores_low[:, y, x].argmax(), scores_high[:, y, x].argmax()
            if low > 0:
                label[y, x] = classes[low - 1]  # foreground beside a strong background
            elif high > 0:
                label[y, x] = 255
    return label


def _scores(found, alpha, size):
    """Background and CAMs at the size of the photo."""
    background = (1 - found.maps.max(axis=0)) ** alpha
    both = np.concatenate([background[None], found.maps])
    return np.stack([cv2.resize(one, size[::-1]) for one in both])


def test_affinity_labels_are_those_of_the_plain_loops(toy, tmp_path):
    _labels(toy, tmp_path, crf_workers=0)
    values = set()
    for img_id in IDS:
        found = read_maps(toy / "cams/maps" / f"{img_id}.npz")
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        plain = _merged(*(_scores(found, a, found.size) for a in (2, 6)), found.classes)
        assert label.shape == found.size and (label == plain).mean() > 0.999  # ties are rounding
        values |= set(np.unique(label)) - set(found.classes)
    assert values == {0, 255}


def test_each_background_goes_through_the_crf(toy, tmp_path):
    settings = dict(num_iters=2, bi_xy_std=15)
    _labels(toy, tmp_path, crf=True, crf_settings=settings, crf_workers=0)
    changed = 0
    for img_id in IDS[:2]:
        found = read_maps(toy / "cams/maps" / f"{img_id}.npz")
        photo = read_photo(toy / "shapes/JPEGImages" / f"{img_id}.jpg")[..., ::-1]
        scores = [_scores(found, a, found.size) for a in (2, 6)]
        constants = replace(CRFSettings.AFFINITY_NET, **settings)
        refined = [
            dense_crf(np.ascontiguousarray(photo), s / s.sum(axis=0), constants) for s in scores
        ]
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        assert (label == _merged(*refined, found.classes)).mean() > 0.999
        changed += (label != _merged(*scores, found.classes)).sum()
    assert changed > 0


def test_a_photo_without_a_class_is_background(toy, tmp_path):
    for path in (toy / "cams/maps").iterdir():
        found = read_maps(path)
        (tmp_path / "maps").mkdir(exist_ok=True)
        write_maps(tmp_path / "maps" / path.name, [], found.maps[:0], found.size)
    _labels(toy, tmp_path / "out", maps=tmp_path, crf=True, crf_workers=0, evaluate=True)
    assert not read_label_png(tmp_path / "out" / "labels" / f"{IDS[0]}.png").any()


# ---- by the random walk -------------------------------------------------------------------------


def _plain_scores(model, data, i, cams, alpha):
    """Cell means, T^t as a full matrix, and back to the photo: (1 + M, H, W)."""
    packed = model.data_preprocessor(pseudo_collate([data.dataset[i]]), False)
    with torch.no_grad():
        affinity = model.affinity(packed["inputs"])
    maps = torch.from_numpy(cams.maps)
    maps = torch.cat([(1 - maps.max(dim=0, keepdim=True).values) ** alpha, maps])
    grid = F.adaptive_avg_pool2d(maps[None], affinity.shape[2:])
    walked = plain_random_walk(grid, affinity, model.affinity_head.offsets, 8.0, 16)
    return F.interpolate(walked, size=cams.size, mode="bilinear")[0].numpy()


def test_walked_labels_are_those_of_the_full_matrix(toy, tmp_path):
    _walk(toy, tmp_path, alphas=(24.0,))
    model = init_model(toy / "affinity/toy.py", toy / "affinity/toy.pth", "cpu")
    data = SplitData(model.cfg, "val")
    moved = 0
    for i, img_id in enumerate(IDS):
        cams = read_maps(toy / "cams/maps" / f"{img_id}.npz")
        best = _plain_scores(model, data, i, cams, 24.0).argmax(axis=0)
        plain = np.array([0, *cams.classes])[best]
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        assert label.shape == data.photo(i).shape[:2]
        assert (label == plain).mean() > 0.999
        moved += (label > 0).sum()
    assert moved > 0


def test_sweep_gives_the_figures_of_single_runs(toy, tmp_path):
    swept = _walk(toy, tmp_path / "swept", sweep=(1.0, 4.0, 16.0))
    assert swept["sweep"]["score"] == "alpha"
    rows = {row["bkg_thr"]: row["mIoU"] for row in swept["sweep"]["rows"]}
    assert set(rows) >= {1, 4, 16} and rows[4] == swept["figures"]["mIoU"]
    single = _walk(toy, tmp_path / "single", alphas=(16.0,), evaluate=True)
    assert rows[16] == single["figures"]["mIoU"] != rows[1]


def test_crf_and_no_steps(toy, tmp_path):
    plain = _walk(toy, tmp_path / "plain", {"model.num_steps": 0}, evaluate=True)
    crf = _walk(
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
    direct = _walk(toy, tmp_path / "direct", **crf)
    _walk(toy, tmp_path / "walk", alphas=(24.0,), save_maps=True)
    assert len(list((tmp_path / "walk/maps").iterdir())) == 4
    monkeypatch.setattr("afa.models.segmentors.AffinityNet.affinity", None)
    walked = _walk(toy, tmp_path / "walked", walked=tmp_path / "walk", **crf)
    assert files_of(tmp_path / "walked") == files_of(tmp_path / "direct")
    assert walked["settings"] == direct["settings"]
    assert walked["figures"]["mIoU"] == direct["figures"]["mIoU"]
    plain = _walk(toy, tmp_path / "plain", alphas=(24.0,), walked=tmp_path / "walk")
    assert plain["num_made"] == 4
    before = files_of(tmp_path / "walk")
    assert {f"labels/{i}.png": before[f"labels/{i}.png"] for i in IDS} == files_of(
        tmp_path / "plain"
    )


def test_walked_maps_of_something_else_are_refused(toy, tmp_path):
    walk = tmp_path / "walk"
    _walk(toy, walk, save_maps=True)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"other settings \(alphas was \[4.0\], now \[8.0\]"):
        _walk(toy, out, walked=walk, alphas=(8.0,))
    with pytest.raises(ValueError, match=r"other settings \(model was"):
        _walk(toy, out, {"model.beta": 2.0}, walked=walk)
    with pytest.raises(ValueError, match="maps of one alpha: give --sweep"):
        _walk(toy, out, walked=walk, sweep=(2.0,))
    with pytest.raises(ValueError, match=r"other settings \(tool was"):
        _walk(toy, out, walked=toy / "cams")  # CAMs
    with pytest.raises(ValueError, match="--out and --walked are the same folder"):
        _walk(toy, walk, walked=walk, overwrite=True)
    assert not out.exists() and len(list((walk / "maps").iterdir())) == 4
    (walk / "maps" / f"{IDS[1]}.npz").write_bytes((toy / f"cams/maps/{IDS[1]}.npz").read_bytes())
    with pytest.raises(ValueError, match="so that its maps have not walked"):
        _walk(toy, out, walked=walk)
    (walk / "maps" / f"{IDS[1]}.npz").unlink()
    with pytest.raises(ValueError, match=rf"no maps of the image '{IDS[1]}'.*random_walk.py"):
        _walk(toy, out, walked=walk)


def test_other_networks_and_padding_are_refused(toy, tmp_path):
    with pytest.raises(ValueError, match="needs AffinityNet, but this model is CAMClassifier"):
        _walk(toy, tmp_path / "out", network="classifier")
    padded = {"model.data_preprocessor.test_cfg.size_divisor": 64}
    with pytest.raises(ValueError, match="photos without padding"):
        _walk(toy, tmp_path / "out", padded)


# ---- what all share -----------------------------------------------------------------------------


def test_a_second_run_makes_what_is_missing_alone(toy, tmp_path):
    first = _labels(toy, tmp_path, evaluate=True)
    assert first["num_made"] == 4 and first["true_image_labels"] is None
    before = files_of(tmp_path)
    (tmp_path / "labels" / f"{IDS[1]}.png").write_bytes(before[f"labels/{IDS[1]}.png"][:-9])
    (tmp_path / "labels" / f"{IDS[2]}.png").unlink()
    again = _labels(toy, tmp_path, evaluate=True)
    assert again["num_made"] == 2 and files_of(tmp_path) == before
    assert json.dumps(again["figures"]) == json.dumps(first["figures"])
    assert json.loads((tmp_path / "summary.json").read_text())["figures"]["mIoU"] > 0


def test_other_settings_or_a_folder_of_another_tool_are_refused(toy, tmp_path):
    _labels(toy, tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(alphas was .*--overwrite"):
        _labels(toy, tmp_path, alphas=(2.0, 8.0))
    with pytest.raises(ValueError, match=r"no settings\.json of this tool"):
        _walk(toy, tmp_path)
    assert files_of(tmp_path) == before
    _labels(toy, tmp_path, alphas=(1.0, 12.0), overwrite=True)
    assert files_of(tmp_path) != before


def test_origin_of_the_maps_counts_and_is_said(toy, tmp_path, capsys):
    settings = toy / "cams" / "settings.json"
    try:
        settings.write_text(json.dumps(dict(classes="true image labels (Annotations)")))
        assert _labels(toy, tmp_path)["true_image_labels"] is True
        assert "classes of the CAMs (true image labels)" in capsys.readouterr().out
        settings.write_text(json.dumps(dict(classes="predicted, probability above 0.5")))
        assert _labels(toy, tmp_path / "new")["true_image_labels"] is False
        with pytest.raises(ValueError, match=r"other settings \(maps was"):
            _labels(toy, tmp_path)
    finally:
        settings.unlink()


def test_labels_of_a_stage_are_no_masks(toy, tmp_path):
    _labels(toy, tmp_path / "made")
    options = {"val_dataloader.dataset.data_prefix.seg_map_path": str(tmp_path / "made/labels")}
    with pytest.raises(ValueError, match="holds labels that one of our tools has made"):
        _labels(toy, tmp_path / "out", options, evaluate=True)
    assert not (tmp_path / "out").exists()


def _process(rank, port, toy, out):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        CUDA_VISIBLE_DEVICES="",
    )
    torch.set_num_threads(1)
    _all(toy, out, launcher="pytorch")
    torch_dist.destroy_process_group()


def _all(toy, out, **options):
    _labels(toy, out / "labels", crf=True, crf_settings=dict(num_iters=2), crf_workers=0, **options)
    _walk(toy, out / "walk", sweep=(1.0, 4.0), **options)
    _cluster(toy, out / "clusters", **options)


def test_two_processes_write_the_files_of_one(toy, tmp_path):
    _all(toy, tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = (port, toy, tmp_path / "two")
    mp.start_processes(_process, args=args, nprocs=2, start_method="fork")  # nothing to import
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    for stage in ("labels", "walk", "clusters"):
        summary = json.loads((tmp_path / "two" / stage / "summary.json").read_text())
        assert summary["num_processes"] == 2

"""What all stages from maps to labels share: the folder, the figures, several processes."""

import json
import os
import socket

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from toy_stages import (
    AFFINITY_NET,
    CLASSIFIER,
    IDS,
    files_of,
    write_cams,
    write_pictures,
    write_stage,
)

from afa.apis.affinity_labels import make_affinity_labels
from afa.apis.map_stage_options import MapStageOptions
from afa.apis.random_walk_labels import make_random_walk_labels
from afa.apis.sub_category_search import SubCategoryOptions, make_sub_categories
from afa.engine.config import load_config


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


def _labels(toy, out, cfg_options=None, **options):
    wanted = dict(split="val", kind="affinity_labels", out=str(out), alphas=(2.0, 6.0))
    cfg = load_config(str(toy / "affinity/toy.py"), options=dict(cfg_options or {}))
    return make_affinity_labels(cfg, toy / "cams", MapStageOptions(**{**wanted, **options}))


def _walk(toy, out, **options):
    wanted = dict(split="val", kind="random_walk", out=str(out), alphas=(4.0,), device="cpu")
    cfg, checkpoint = load_config(str(toy / "affinity/toy.py")), toy / "affinity/toy.pth"
    options = MapStageOptions(**{**wanted, **options})
    return make_random_walk_labels(cfg, checkpoint, toy / "cams", options)


def _cluster(toy, out, **options):
    cfg, checkpoint = load_config(str(toy / "classifier/toy.py")), toy / "classifier/toy.pth"
    wanted = dict(split="val", num_sub=2, out=str(out), device="cpu")
    return make_sub_categories(cfg, checkpoint, SubCategoryOptions(**{**wanted, **options}))


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

"""Several processes must give the figures and files of one, whatever the number of images."""

import json
import os
import socket

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from toy_photos import make_cfg, write_checkpoint, write_photos

from afa.engine.dist import init_dist
from afa.engine.runner import build_runner
from afa.engine.test_options import EvaluationOptions

PROCESSES = 2
# Images, stage, options: more processes than images, and a number they do not divide.
CASES = {
    "test-3": (3, "test", {}),
    "test-1": (1, "test", {}),
    "val-3": (3, "val", {}),
    "crf-1": (1, "test", dict(tta=True, crf=True, crf_workers=0)),
    "format-3": (3, "test", dict(format_only=True)),
}


def _run(folder, name, launcher):
    count, stage, options = CASES[name]
    root, work = f"{folder}/data{count}", f"{folder}/{launcher}/{name}"
    cfg = make_cfg(root, work)
    if "format_only" in options:  # VOC has an archive
        classes = ("background", "aeroplane", "bicycle", "bird")
        cfg.test_dataloader.dataset.update(type="VOC12Dataset", metainfo=dict(classes=classes))
    cfg.launcher = launcher
    cfg.load_from = f"{folder}/model.pth"
    options = EvaluationOptions(**options) if stage == "test" else None
    runner = build_runner(cfg, stage=stage, options=options)
    return runner.test() if stage == "test" else runner.val()


def _process(rank, port, folder):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(PROCESSES),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        CUDA_VISIBLE_DEVICES="",
    )
    torch.set_num_threads(1)
    init_dist("pytorch", timeout=120)
    figures = {name: _run(folder, name, "pytorch") for name in CASES}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(figures, file)
    torch_dist.destroy_process_group()


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_two_processes_give_the_figures_and_files_of_one(tmp_path):
    for count in sorted({case[0] for case in CASES.values()}):
        write_photos(tmp_path / f"data{count}", count)
    write_checkpoint(tmp_path / "model.pth")
    mp.spawn(_process, args=(_free_port(), str(tmp_path)), nprocs=PROCESSES)
    for name in CASES:
        wanted = _run(tmp_path, name, "none")
        assert wanted or name == "format-3"
        for rank in range(PROCESSES):
            figures = json.loads((tmp_path / f"{rank}.json").read_text())[name]
            assert figures == pytest.approx(wanted, nan_ok=True), (name, rank)
    one, several = (
        tmp_path / f"{launcher}/format-3/format-val/results.tar.gz"
        for launcher in ("none", "pytorch")
    )
    assert one.read_bytes() == several.read_bytes()
